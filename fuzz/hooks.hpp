// What the two files of hooks share.
#pragma once

namespace dmaudit::fuzz {

extern bool replay; // inputs stay as they are: what is measured then is running them

} // namespace dmaudit::fuzz
