// Managed DMA: what a driver takes while it is bound; clients make no mistakes.
#include "fuzz/engine.hpp"

const dmaudit::fuzz::Target& dmaudit::fuzz::target = dmaudit::fuzz::managed;
