// Opaque handles, non-coherent and coherent memory; clients make no mistakes.
#include "fuzz/engine.hpp"

const dmaudit::fuzz::Target& dmaudit::fuzz::target = dmaudit::fuzz::handles;
