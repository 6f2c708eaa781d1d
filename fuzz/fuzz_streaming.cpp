// Streaming mappings: map, sync, unmap, bounce buffers, cache maintenance; clients make no mistakes.
#include "fuzz/engine.hpp"

const dmaudit::fuzz::Target& dmaudit::fuzz::target = dmaudit::fuzz::streaming;
