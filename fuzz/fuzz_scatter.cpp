// Scatterlists beside streaming mappings; clients make no mistakes.
#include "fuzz/engine.hpp"

const dmaudit::fuzz::Target& dmaudit::fuzz::target = dmaudit::fuzz::scatter;
