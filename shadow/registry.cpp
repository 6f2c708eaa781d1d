#include "shadow/registry.hpp"

namespace dmaudit {

template <unsigned most> bool Ranges<most>::remove(Range r)
{
    for (unsigned i = 0; i < n_;) {
        const Range old = ranges_[i];
        if (!old.overlaps(r)) {
            i++;
            continue;
        }
        ranges_[i] = ranges_[--n_];
        if (old.at < r.at) {
            if (n_ == most)
                return false;
            ranges_[n_++] = {old.at, r.at - old.at};
        }
        if (old.end() > r.end()) {
            if (n_ == most)
                return false;
            ranges_[n_++] = {r.end(), old.end() - r.end()};
        }
        i = 0;
    }
    return true;
}

template <unsigned most> bool Ranges<most>::add(Range r)
{
    if (covers(r))
        return true;
    if (!remove(r))
        return false;
    for (unsigned i = 0; i < n_;) { // join neighbours, so that bytewise hand-overs do not fill the set
        if (ranges_[i].end() == r.at || r.end() == ranges_[i].at) {
            r = {ranges_[i].at < r.at ? ranges_[i].at : r.at, r.len + ranges_[i].len};
            ranges_[i] = ranges_[--n_];
            i = 0;
        } else
            i++;
    }
    if (n_ == most)
        return false;
    ranges_[n_++] = r;
    return true;
}

template <unsigned most> bool Ranges<most>::covers(Range r) const
{
    for (uint64_t at = r.at; at < r.end();) {
        uint64_t next = at;
        for (unsigned i = 0; i < n_; i++)
            if (ranges_[i].contains(at))
                next = ranges_[i].end();
        if (next == at)
            return false;
        at = next;
    }
    return true;
}

template <unsigned most> bool Ranges<most>::touches(Range r) const
{
    for (unsigned i = 0; i < n_; i++)
        if (ranges_[i].overlaps(r))
            return true;
    return false;
}

template <unsigned most> uint64_t Ranges<most>::next_edge(uint64_t from, uint64_t end) const
{
    for (unsigned i = 0; i < n_; i++) {
        if (ranges_[i].at > from && ranges_[i].at < end)
            end = ranges_[i].at;
        if (ranges_[i].end() > from && ranges_[i].end() < end)
            end = ranges_[i].end();
    }
    return end;
}

template class Ranges<32>;
template class Ranges<512>;

} // namespace dmaudit
