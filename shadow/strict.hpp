// What may be asked of clients beside the rules of the interface: modes for those who want to be strict with a driver.
// A world switches them on, one by one; in a plain world all are off.
#pragma once
#include <string_view>

namespace dmaudit {

struct Strict {
    bool check_errors = false; // a mapping is tested with dma_mapping_error before it is used
    bool weak_order = false; // a barrier stands between the CPU's stores to coherent memory and a device's look at them
    bool single_fetch = false; // the CPU reads no byte twice that a device may change meanwhile, unless it means to
    bool untrusted = false;    // what a device wrote is no index, length or pointer before it was checked
    friend bool operator==(const Strict&, const Strict&) = default;
};

struct StrictMode {
    std::string_view name;
    bool Strict::*on;
};
inline constexpr StrictMode strict_modes[] = {{"check_errors", &Strict::check_errors},
                                              {"weak_order", &Strict::weak_order},
                                              {"single_fetch", &Strict::single_fetch},
                                              {"untrusted", &Strict::untrusted}};

} // namespace dmaudit
