#include "harness/execute.hpp"

#include "harness/run.hpp"

namespace dmaudit {

// ---- the adversary ----

Skip Run::adversary(Machine::Act act, uint64_t object, uint64_t off, uint64_t len, uint64_t nth)
{
    if (!made(object))
        return Skip::not_made;
    const Tag t = tag(object);
    if (!auditor_.alive(t))
        return Skip::impossible;
    Range r = name_kind(object) == obj_mapping ? auditor_.mappings()[t].target : auditor_.bytes_of(t);
    if (off > r.len || len > r.len - off)
        return Skip::impossible;
    r = {r.at + off, len};
    if (nth)
        return machine_.arm(act, r.at, r.len, nth) ? Skip::executed : Skip::impossible;
    act == Machine::Act::evict ? machine_.cache().evict(r.at, r.len) : machine_.cache().prefetch(r.at, r.len);
    return Skip::executed;
}

// ---- the end of a clean run ----

void Run::give_back_dma_bufs()
{
    while (!failed() && auditor_.attachments().live_count()) {
        const Tag t = auditor_.attachments().live(0);
        const Range whole = auditor_.bytes_of(t);
        const bool bounced = auditor_.attachments()[t].bounced;
        for (uint32_t direction = 0; direction < 3; direction++)
            while (!failed() && auditor_.attachments()[t].maps[direction])
                if (call([&] { return auditor_.unmap_attachment(t, direction); }) == DMAUDIT_OK && !failed())
                    expect_contents(whole, bounced, true);
        if (!failed())
            call([&] { return auditor_.detach(t); });
    }
    for (uint32_t i = 0; i < auditor_.windows().live_count() && !failed();)
        if (const Tag t = auditor_.windows().live(i); auditor_.windows()[t].buf)
            call([&] { return auditor_.munmap(t) ? DMAUDIT_OK : Auditor::withheld; });
        else
            i++;
    while (!failed() && auditor_.bufs().live_count()) {
        // Through a reference of its own, so that brackets can be closed whoever holds the others.
        const Tag buf = auditor_.bufs().live(0);
        Tag ref = 0;
        for (uint32_t i = 0; i < auditor_.buf_refs().live_count() && !ref; i++)
            if (auditor_.buf_refs()[auditor_.buf_refs().live(i)].buf == buf)
                ref = auditor_.buf_refs().live(i);
        int fd = -1;
        for (size_t i = 0; i < auditor_.fds().size() && fd < 0; i++)
            if (auditor_.fds()[i] == buf)
                fd = static_cast<int>(i);
        if (!ref && call([&] { return auditor_.dma_buf_get(fd, &ref); }) != DMAUDIT_OK)
            return session_.fail({RuleId::spurious_failure, 0, {}, buf, "an open descriptor cannot be had again"});
        while (!failed() && auditor_.bufs()[buf].n_brackets) {
            const BracketRecord b = auditor_.bufs()[buf].brackets[0];
            call([&] {
                return auditor_.cpu_bracket(ref, b.at.at - auditor_.bufs()[buf].at.at, b.at.len,
                                            linux_direction(b.direction), false);
            });
        }
        if (!failed() && fd >= 0)
            call([&] { return auditor_.close_fd(fd); });
        else if (!failed())
            call([&] { return auditor_.dma_buf_put(ref); });
    }
    if (!failed())
        free_exported();
}

void Run::give_everything_back()
{
    machine_.arm_fault(0);
    auditor_.be_strict({});
    for (uint32_t i = 0; i < auditor_.buffers().live_count() && !failed(); i++)
        expect_contents(auditor_.buffers()[auditor_.buffers().live(i)].at, false, false);
    for (uint32_t i = 0; i < auditor_.blocks().live_count() && !failed(); i++)
        expect_contents(auditor_.blocks()[auditor_.blocks().live(i)].at, false, false);
    give_back_dma_bufs();
    while (!failed() && auditor_.sgs().live_count()) {
        const Tag t = auditor_.sgs().live(0);
        const SgRecord& rec = auditor_.sgs()[t];
        const auto unmap = [&](uint32_t attrs) {
            return call([&] {
                return auditor_.unmap_sg(t, rec.device, rec.n, linux_direction(rec.direction), attrs, !has_sg());
            });
        };
        if (unmap(0) == Auditor::withheld) { // the CPU wrote bytes that an unmap would throw away
            session_.forgive();
            unmap(DMAUDIT_ATTR_SKIP_CPU_SYNC);
        }
        if (!failed())
            expect_sg(t, true);
    }
    while (!failed() && auditor_.mappings().live_count()) {
        const Tag t = auditor_.mappings().live(0);
        dmaudit_mapping m = auditor_.mappings()[t].inner;
        m.cookie[0] = t;
        m.device = auditor_.mappings()[t].device;
        m.size = auditor_.mappings()[t].original.len;
        const Range r = auditor_.mappings()[t].original;
        const bool bounced = auditor_.mappings()[t].bounced;
        int rc = call([&] { return auditor_.unmap_single(m, every_byte, 0); });
        if (rc == Auditor::withheld) { // the CPU wrote bytes that an unmap would throw away
            session_.forgive();
            rc = call([&] { return auditor_.unmap_single(m, every_byte, DMAUDIT_ATTR_SKIP_CPU_SYNC); });
        }
        if (!failed())
            expect_contents(r, bounced, true);
    }
    while (!failed() && auditor_.windows().live_count())
        auditor_.munmap(auditor_.windows().live(0));
    unbind_everything();
    while (!failed() && auditor_.blocks().live_count()) {
        const Tag t = auditor_.blocks().live(0);
        const BlockRecord& rec = auditor_.blocks()[t];
        const dmaudit_block b = auditor_.as_client_sees(t);
        int ours = 0;
        if (rec.pool && DMAUDIT_HAS(provider_.pool, release_from))
            call([&] { return auditor_.release_from_pool(b, &ours); });
        else if (rec.noncoherent())
            call([&] {
                return auditor_.free_noncoherent(b, linux_direction(rec.direction),
                                                 rec.pages ? Auditor::Via::pages : Auditor::Via::plain);
            });
        else
            call([&] { return auditor_.free_coherent(b); });
    }
    open_masks();
    if (!failed())
        first_.repeat(session_);
    while (!failed() && auditor_.pools().live_count())
        call([&] { return auditor_.release_pool(auditor_.pools().live(0)); });
    while (!failed() && auditor_.buffers().live_count())
        auditor_.remove_buffer(auditor_.buffers().live(0));
    for (uint32_t device = 0; device < measured_.size(); device++)
        if (measured_[device] && !failed())
            capacity_[device] = capacity(session_, device);
}

void Run::compare_capacity()
{
    const auto shortfall = [this](uint32_t device) {
        return measured_[device] && capacity_[device].less_than(fresh_[device]);
    };
    // Two instances have to agree: one that differs from another of its own accord has lost nothing.
    for (unsigned instances = 0; instances < 2 && !failed() && !abrupt_ && measured_.any(); instances++) {
        if (session_.open(case_.world, provider_) != DMAUDIT_OK)
            return;
        uint32_t lost = 0;
        for (uint32_t device = 0; device < measured_.size(); device++) {
            if (!measured_[device] || failed())
                continue;
            const Capacity now = capacity(session_, device);
            fresh_[device] = instances ? fresh_[device].common(now) : now;
            lost += shortfall(device);
        }
        session_.close();
        if (!lost)
            return;
    }
    for (uint32_t device = 0; device < measured_.size() && !failed(); device++) {
        const Capacity &had = capacity_[device], &fresh = fresh_[device];
        if (!shortfall(device))
            continue;
        const bool bytes = had.bytes < fresh.bytes;
        session_.fail({RuleId::lost_capacity,
                       0,
                       {},
                       0,
                       bytes ? "everything was given back, and a fresh instance has more bytes to give"
                             : "everything was given back, and a fresh instance maps more lines at a time",
                       bytes ? fresh.bytes : fresh.mappings,
                       bytes ? had.bytes : had.mappings,
                       Numbers::values});
    }
}

void Run::fail_open()
{
    if (failed() || !fails_open_)
        return;
    if (session_.open(case_.world, provider_, *fails_open_) == DMAUDIT_OK || failed()) { // it may do without
        if (session_.is_open())
            session_.close();
    } else if (session_.open(case_.world, provider_) == DMAUDIT_OK)
        session_.close();
    else
        session_.fail({RuleId::spurious_failure, 0, {}, 0, "after an open that failed it cannot be opened any more"});
}

bool Result::as_expected(const Expect& e) const
{
    if (open_error)
        return false;
    return e.kind == Expect::violation ? violation && violation->rule == e.rule : !violation;
}

void Tally::add(const Tally& o)
{
    const auto sum = [](auto& into, const auto& from) {
        for (size_t i = 0; i < into.size(); i++)
            into[i] += from[i];
    };
    cases += o.cases, steps += o.steps, executed += o.executed, not_made += o.not_made, illegal += o.illegal,
        impossible += o.impossible;
    sum(by_op, o.by_op);
    sum(skipped_by, o.skipped_by);
    calls += o.calls, evictions_inside += o.evictions_inside, faults += o.faults, failures += o.failures;
    marks.add(o.marks);
}

Result execute(const Case& c, const dmaudit_provider& provider, Session& session, Tally* tally, uint8_t* cells,
               Auditor::Trace* trace)
{
    Tally unused;
    Tally& t = tally ? *tally : unused;
    t.cases++;
    Result result;
    if ((result.open_error = session.open(c.world, provider)) != DMAUDIT_OK)
        return result;
    Auditor& auditor = session.auditor();
    bool conforming = c.world.mode == Mode::conforming;
    auditor.forward_illegal(!conforming);
    auditor.be_strict(c.world.strict);
    auditor.cells = cells;
    auditor.trace = trace;
    auto* steps = dynamic_cast<StepTrace*>(trace);
    std::optional<Violation> mistake; // refused, in this step
    uint16_t mistaken = 0;
    Run run(c, session, provider, t);
    for (; result.step < c.count; result.step++) {
        if (steps)
            steps->step(result.step);
        const Skip skip = run.step(c.steps[result.step]);
        if (const int rc = run.returned(); steps)
            steps->returned(rc);
        t.steps++;
        switch (skip) {
        case Skip::executed:
            t.executed++, t.by_op[c.steps[result.step].op]++;
            result.executed.set(result.step);
            break;
        case Skip::not_made:
            t.not_made++;
            break;
        case Skip::impossible:
            t.impossible++;
            break;
        case Skip::illegal:
            t.illegal++;
            // Of a client that conforms also a call that was not made for want of room in the auditor is left out.
            if (conforming && auditor.violation() &&
                (rule(auditor.violation()->rule).fault == Fault::client ||
                 auditor.violation()->rule == RuleId::auditor_exhausted)) {
                t.skipped_by[static_cast<size_t>(auditor.violation()->rule)]++;
                session.forgive();
            }
            break;
        }
        if (run.failed() && !mistake && auditor.refused_illegal_call()) {
            // The promise to detect it says, too, that it has no effect: from here on the client conforms.
            if (steps)
                steps->stopped(session);
            mistake = auditor.violation();
            mistaken = result.step;
            result.executed.set(mistaken);
            conforming = true;
            session.forgive();
            auditor.forward_illegal(false);
        }
        if (run.failed())
            break;
    }
    if (!run.failed()) {
        if (steps)
            steps->step(c.count);
        run.finish();
    }
    if (steps && run.failed())
        steps->stopped(session);
    t.marks.add(auditor.marks);
    session.close();
    run.compare_capacity();
    run.fail_open();
    result.violation = session.violation();
    if (mistake && (!result.violation || rule(result.violation->rule).fault == Fault::client)) {
        result.violation = mistake;
        result.step = mistaken;
    }
    return result;
}

} // namespace dmaudit
