#include "harness/text.hpp"
#include <charconv>

namespace dmaudit {
namespace {

std::string decimal(uint64_t v)
{
    return std::to_string(v);
}
std::string hex(uint64_t v)
{
    char digits[20];
    const auto end = std::to_chars(digits, digits + sizeof digits, v, 16).ptr;
    return "0x" + std::string(digits, end);
}
std::string bytes(uint64_t v)
{
    if (v && v % (1 << 20) == 0)
        return decimal(v >> 20) + "M";
    if (v && v % (1 << 10) == 0)
        return decimal(v >> 10) + "K";
    return decimal(v);
}
std::string value(Shape shape, uint64_t v)
{
    for (const Enumerator& e : words(shape))
        if (e.value == v)
            return std::string(e.name);
    return shape == Shape::limit || shape == Shape::mask || v >> 32 ? hex(v) : decimal(v);
}
std::string device(const DeviceSpec& d)
{
    return std::string(" coherent=") + (d.coherent ? "yes" : "no") + " limit=" + hex(d.limit) +
           " offset=" + hex(d.offset) + (d.iommu ? " iommu=yes" : "");
}

} // namespace

std::string print_name(uint64_t name)
{
    return obj_prefix[obj_index(name_kind(name))] + decimal(name_number(name));
}

std::string print(const Step& s)
{
    std::string out, rest;
    const Spec& spec = specs()[s.op];
    for (size_t a = 0; a < spec.fields.size(); a++) {
        const Field& f = spec.fields[a];
        if (f.shape == Shape::def)
            out += print_name(s.arg[a]) + " = ";
        else if (f.shape == Shape::use)
            rest += " " + print_name(s.arg[a]);
        else if (default_of(f.shape) != s.arg[a])
            rest += " " + std::string(f.name) + "=" + value(f.shape, s.arg[a]);
    }
    return out + std::string(spec.name) + rest;
}

std::string print(const Case& c)
{
    const World& w = c.world;
    std::string out =
        std::string(text_header) + "1\nworld page=" + decimal(w.page) + " line=" + decimal(w.line) + " banks=";
    for (unsigned b = 0; b < w.n_banks; b++)
        out += (b ? "," : "") + bytes(w.banks[b].size) + "@" + hex(w.banks[b].phys);
    out += device(w.devices[0]);
    for (const StrictMode& mode : strict_modes)
        if (w.strict.*mode.on)
            out += " " + std::string(mode.name) + "=yes";
    out += (w.mode == Mode::conforming ? " mode=conforming\n" : "\n");
    for (unsigned d = 1; d < w.n_devices; d++)
        out += "device" + device(w.devices[d]) + "\n";
    for (const Step& s : c.all())
        out += print(s) + "\n";
    if (c.expect.kind == Expect::clean)
        out += "expect clean\n";
    else if (c.expect.kind == Expect::violation)
        out += "expect " + std::string(rule(c.expect.rule).name) + "\n";
    return out;
}

} // namespace dmaudit
