#include "harness/literal.hpp"
#include "harness/text.hpp"
#include <charconv>

namespace dmaudit {
namespace {

std::string number(uint64_t v)
{
    char digits[20];
    const bool small = v < 1u << 16;
    const auto end = std::to_chars(digits, digits + sizeof digits, v, small ? 10 : 16).ptr;
    return (small ? "" : "0x") + std::string(digits, end) + "u";
}

std::string value(Shape shape, uint64_t v)
{
    if (shape != Shape::def && shape != Shape::use)
        return number(v);
    static constexpr std::string_view kinds[obj_kinds] = {"obj_buffer", "obj_mapping", "obj_block",   "obj_pool",
                                                          "obj_window", "obj_sg",      "obj_dma_buf", "obj_attachment"};
    return "name_of(" + std::string(kinds[obj_index(name_kind(v))]) + ", " + std::to_string(name_number(v)) + ")";
}

} // namespace

std::string cpp_literal(const Case& c, std::string_view name)
{
    const World& w = c.world;
    std::string out = "dmaudit::Case " + std::string(name) + "()\n{\n    using namespace dmaudit;\n    Case c;\n";
    out += "    c.world.page = " + number(w.page) + ";\n    c.world.line = " + number(w.line) + ";\n";
    out += std::string("    c.world.mode = Mode::") + (w.mode == Mode::conforming ? "conforming" : "hostile") + ";\n";
    for (const StrictMode& mode : strict_modes)
        if (w.strict.*mode.on)
            out += "    c.world.strict." + std::string(mode.name) + " = true;\n";
    out += "    c.world.n_banks = " + std::to_string(w.n_banks) + ";\n";
    for (unsigned b = 0; b < w.n_banks; b++)
        out += "    c.world.banks[" + std::to_string(b) + "] = {" + number(w.banks[b].phys) + ", " +
               number(w.banks[b].size) + "}; // address, bytes\n";
    out += "    c.world.n_devices = " + std::to_string(w.n_devices) + ";\n";
    for (unsigned d = 0; d < w.n_devices; d++)
        out += "    c.world.devices[" + std::to_string(d) + "] = {" + number(w.devices[d].limit) + ", " +
               number(w.devices[d].offset) + ", " + number(w.devices[d].coherent) + ", " + number(w.devices[d].iommu) +
               "}; // limit, offset, coherent, iommu\n";
    for (const Step& s : c.all()) {
        out += "    c.push({*op_named(\"" + std::string(specs()[s.op].name) + "\"), {";
        const auto fields = specs()[s.op].fields;
        for (size_t a = 0; a < fields.size(); a++)
            out += (a ? ", " : "") + value(fields[a].shape, s.arg[a]);
        out += "}}); // " + print(s) + "\n";
    }
    if (c.expect.kind == Expect::clean)
        out += "    c.expect = {Expect::clean, RuleId::none};\n";
    else if (c.expect.kind == Expect::violation)
        out += "    c.expect = {Expect::violation, *rule_named(\"" + std::string(rule(c.expect.rule).name) + "\")};\n";
    return out + "    return c;\n}\n";
}

} // namespace dmaudit
