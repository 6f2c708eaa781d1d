#include "harness/situation.hpp"

namespace dmaudit {

void Situation::add_lines(uint64_t name, Range r, uint64_t line)
{
    const uint64_t first = r.at & ~(line - 1), last = (r.end() - 1) & ~(line - 1);
    for (uint64_t at = first; at <= last; at += line) {
        if (at >= first + 2 * line && at < last)
            continue;
        const Range part = Range{at, line}.intersect(r);
        const auto known = [at](const Line& l) { return l.at == at; };
        if (std::none_of(lines_.begin(), lines_.end(), known))
            lines_.push_back({name, part.at - r.at, part.len, at});
    }
}

void Situation::look(const Run& run, const std::array<uint8_t, obj_kinds>& defined)
{
    const Auditor& a = run.auditor_;
    const uint64_t line = run.case_.world.line;
    objects_.clear();
    lines_.clear();
    defined_ = defined;
    for (unsigned k = 0; k < obj_kinds; k++)
        for (unsigned n = 0; n < defined[k]; n++) {
            const uint64_t name = name_of(static_cast<Obj>(1u << k), n);
            if (!run.made(name))
                continue;
            const Tag t = run.tag(name);
            if (!a.alive(t))
                continue;
            const Range r = a.bytes_of(t);
            objects_.push_back({name, a.sgs().known(t) ? a.sgs()[t].bytes : r.len});
            if (run.machine_.cache().simulated() && r.len) {
                if (a.mappings().known(t))
                    add_lines(name, a.mappings()[t].target, line);
                else if (a.buffers().known(t) || a.blocks().known(t))
                    add_lines(name, r, line);
            }
        }
    descriptors_ = static_cast<unsigned>(std::count_if(a.fds().begin(), a.fds().end(), [](Tag t) { return t != 0; }));
}

unsigned Situation::count(uint8_t kinds) const
{
    unsigned n = 0;
    for (const Object& o : objects_)
        n += (name_kind(o.name) & kinds) != 0;
    return n;
}

const Situation::Object& Situation::object(uint8_t kinds, uint64_t n) const
{
    size_t i = 0;
    for (;; i++)
        if ((name_kind(objects_[i].name) & kinds) && n-- == 0)
            return objects_[i];
}

} // namespace dmaudit
