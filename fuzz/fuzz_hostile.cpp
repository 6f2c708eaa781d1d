// Everything, by clients that err and lie: the provider must stay sound, and the auditor must blame the client.
#include "fuzz/engine.hpp"

const dmaudit::fuzz::Target& dmaudit::fuzz::target = dmaudit::fuzz::hostile;
