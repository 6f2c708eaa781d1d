// The auditor: a decorator over any provider. Clients make their calls here; each is judged (registry, then the byte
// table, then the line rules; the first hit is the violation), forwarded, and its result checked against the machine.
// Pointers that clients give and get lead into the client alias of RAM, the provider sees its own alias; the provider's
// cookies stay here, clients hold tags in cookie[0].
//
// Client mistakes are found before the call, and change nothing: the call is not forwarded (`withheld` is returned),
// or, if the provider promises to detect illegal frees and forwarding is on, it is forwarded and must fail. Every later
// failure of a legal call is the provider's. After a violation by the provider the session is over.
//
// One thread at a time. Nothing here reads a clock, the environment or a host address to decide anything.
#pragma once
#include "dmaudit/provider.h"
#include "shadow/evidence.hpp"
#include "shadow/identity.hpp"
#include "shadow/managed.hpp"
#include "shadow/map.hpp"
#include "shadow/protocol.hpp"
#include "shadow/registry.hpp"
#include "shadow/rules.hpp"
#include "shadow/strict.hpp"

#include <array>
#include <functional>
#include <initializer_list>

namespace dmaudit {

constexpr uint64_t every_byte = ~uint64_t{0}; // of `used`

// Of an alignment or boundary; 0: none.
constexpr bool power_of_two(uint64_t v)
{
    return (v & (v - 1)) == 0;
}

// What the numbers of a violation are: nothing, two values, two DMAUDIT_ codes, or one device address.
enum class Numbers : uint8_t { none, values, codes, address };
struct Code {
    int rc;
};
struct Bus {
    uint64_t at;
};

struct Violation {
    RuleId rule = RuleId::none;
    uint8_t state = 0; // of the first byte, before
    Range bytes;       // offsets into RAM; empty: no byte is concerned
    Tag object = 0;
    const char* what = ""; // a static sentence
    uint64_t expected = 0, got = 0;
    Numbers numbers = Numbers::none;
    int asked = -1; // the step whose request failed when it was repeated at the end
};

// Situations, counted, so that a campaign can say what it exercised.
enum class Mark : uint8_t {
    bounced,
    direct,
    partial_sync,
    overlapping_to_device,
    skipped_sync,
    held_write,
    pool_full,
    fell_through,
    split_line,
    window,
    refused,
    failed_call,
    merged_segments,
    translated,
    attachment_mapped,
    bracket,
    parameter_set,
    narrowed,
    kept_bits,
    count_
};
struct AuditMarks {
    std::array<uint64_t, static_cast<size_t>(Mark::count_)> n{};
    void hit(Mark m, bool happened = true) { n[static_cast<size_t>(m)] += happened; }
    uint64_t operator[](Mark m) const { return n[static_cast<size_t>(m)]; }
    void add(const AuditMarks& o)
    {
        for (size_t i = 0; i < n.size(); i++)
            n[i] += o.n[i];
    }
};
std::string_view mark_name(Mark);

class Auditor {
  public:
    static constexpr int withheld = -1; // the call was illegal and not made

    Auditor();
    ~Auditor(); // before the memory of the client view goes; the ASan mirror is lifted
    Auditor(const Auditor&) = delete;
    Auditor& operator=(const Auditor&) = delete;

    // Begin a session on an open provider. `arenas`: offsets of the RAM that is the provider's.
    void begin(const Surroundings&, Evidence&, const dmaudit_provider&, void* ctx, std::span<const Range> arenas);
    // Forget everything; in the ASan mirror nothing is allowed until the next session.
    void begin_close() { closing_ = true; } // the provider may drop the lines of what still lives
    void end();

    const std::optional<Violation>& violation() const { return violation_; }
    // What the machine or the data oracle found: the first one counts, whoever found it.
    void found(const Violation& v)
    {
        if (!violation_)
            violation_ = v;
    }
    void forgive() { violation_.reset(); } // a client mistake that was withheld
    void forward_illegal(bool on) { forward_illegal_ = on; }
    bool refused_illegal_call() const { return refused_illegal_; } // one was passed on, and refused as promised
    // Off: calls are only passed on and remembered. Nothing is judged, checked or mirrored; cases that are known to be
    // legal then show what auditing costs.
    void audit(bool on) { audits_ = on; }
    bool audits() const { return audits_; }
    // As it begins, all is off. Switched off again, it forgets what the modes remembered.
    void be_strict(const Strict& s)
    {
        strict_ = s;
        barrier();
        supplied_.clear();
    }

    // ---- clients' buffers ----
    Tag add_buffer(Range at, bool mappable = true); // 0 and a violation: not free RAM
    bool remove_buffer(Tag);

    // ---- facets; struct conventions as in provider.h, codes of the provider or `withheld` ----
    // `managed`: the call of the managed facet.
    int alloc_coherent(const dmaudit_request&, dmaudit_block* out, bool managed = false);
    int free_coherent(const dmaudit_block&, bool managed = false);
    int mmap_coherent(const dmaudit_block&, uint64_t pgoff, uint64_t pages, Tag* out);
    enum class Via : uint8_t { plain, managed, pages }; // which pair of calls
    int alloc_noncoherent(const dmaudit_request&, uint32_t direction, dmaudit_block* out, Via via = Via::plain);
    int free_noncoherent(const dmaudit_block&, uint32_t direction, Via via = Via::plain);
    int sync_noncoherent(const dmaudit_block&, uint64_t offset, uint64_t length, uint32_t direction, uint32_t phase);
    int map_single(const dmaudit_request&, void* cpu, uint32_t direction, dmaudit_mapping* out);
    int unmap_single(const dmaudit_mapping&, uint64_t used, uint32_t attrs);
    void mapping_error(Tag mapping) // dma_mapping_error: of a mapping that was made, the answer is no
    {
        if (mappings_.alive(mapping))
            mappings_[mapping].tested = true;
    }
    int sync(const dmaudit_mapping&, uint64_t offset, uint64_t length, uint32_t direction, uint32_t phase);
    // `entries` are client pointers, at most SgRecord::most of them. `table`: the sgtable form of the call; a list may
    // be mapped in one form and unmapped in the other.
    int map_sg(const dmaudit_request&, std::span<const dmaudit_sg_entry> entries, uint32_t direction, Tag* out,
               bool table = false);
    int unmap_sg(Tag sg, uint32_t device, uint32_t n_entries, uint32_t direction, uint32_t attrs, bool table = false);
    int sync_sg(Tag sg, uint32_t device, uint32_t n_entries, uint32_t direction, uint32_t phase, bool table = false);
    int set_mask(uint32_t device, uint64_t mask, bool coherent);
    int set_min_align_mask(uint32_t device, uint64_t mask);
    // dma-buf: a tag of kind dma_buf is one reference.
    int export_block(const dmaudit_block&, Tag* out);
    int export_pages(Tag buffer, uint64_t offset, uint64_t length, Tag* out);
    int dma_buf_fd(Tag ref, int* fd);
    int dma_buf_get(int fd, Tag* out);
    int dma_buf_put(Tag ref);
    int close_fd(int fd);
    int dup_fd(int fd, int* copy);
    int attach(Tag ref, uint32_t device, Tag* out);
    int detach(Tag attachment);
    int map_attachment(Tag attachment, uint32_t direction);
    int unmap_attachment(Tag attachment, uint32_t direction);
    int cpu_bracket(Tag ref, uint64_t offset, uint64_t length, uint32_t direction, bool begin);
    int open_window(Tag ref, WindowRecord::Kind, uint64_t page, uint64_t pages, Tag* out);
    int close_window(Tag window); // of a dma-buf
    bool importer_access(uint32_t device, Tag attachment, uint64_t offset, uint64_t length, bool write);
    int cache(Tag buffer, uint64_t offset, uint64_t length, uint32_t op);
    int declare_pool(uint32_t device, Range at, uint32_t* exclusive, Tag* out, bool managed = false);
    int alloc_from_pool(Tag pool, uint64_t size, dmaudit_block* out, int* ours);
    int release_from_pool(const dmaudit_block&, int* ours);
    int mmap_from_pool(const dmaudit_block&, uint64_t pgoff, uint64_t pages, Tag* out, int* ours);
    bool munmap(Tag window);
    int release_pool(Tag pool, bool managed = false);
    int bind(uint32_t device);
    int unbind(uint32_t device);
    int add_action(uint32_t device); // an action of the auditor's own
    int open_group(uint32_t device);
    int release_group(uint32_t device, uint64_t nth); // the nth youngest open one; none: the provider must refuse

    // ---- accesses: true if they are legal; the caller then moves the bytes ----
    // index: what is read is used as an index, length or pointer.
    bool cpu_access(Tag object, uint64_t offset, uint64_t length, bool write, bool index = false);
    bool device_access(uint32_t device, Tag object, uint64_t offset, uint64_t length, bool write);
    bool device_supplied(Range); // of a write: these bytes came from a device. False: no room to remember it
    void barrier() // dma_wmb and dma_rmb, or the write to a doorbell
    {
        unordered_.clear();
        fetched_.clear();
    }

    // What the driver of a device has said of it last.
    struct Driver {
        uint64_t mask = every_byte, coherent_mask = every_byte, min_align_mask = 0;
    };
    const Driver& driver(uint32_t device) const { return drivers_[device]; }

    // ---- from the machine ----
    void writeback_over_stale(uint64_t line_at);
    void drops_dirty(uint64_t line_at);
    bool may_uncache(Range) const;

    // ---- to look at ----
    const ShadowMap& map() const { return map_; }
    const IdentityMap& identity() const { return identity_; }
    const Slots<BufferRecord, Kind::buffer>& buffers() const { return buffers_; }
    const Slots<BlockRecord, Kind::block>& blocks() const { return blocks_; }
    const Slots<MappingRecord, Kind::mapping>& mappings() const { return mappings_; }
    const Slots<PoolRecord, Kind::pool>& pools() const { return pools_; }
    const Slots<WindowRecord, Kind::window>& windows() const { return windows_; }
    const Slots<SgRecord, Kind::sg>& sgs() const { return sgs_; }
    const Slots<BufRecord, Kind::exported>& bufs() const { return bufs_; }
    const Slots<BufRefRecord, Kind::dma_buf>& buf_refs() const { return buf_refs_; }
    const Slots<AttachmentRecord, Kind::attachment>& attachments() const { return attachments_; }
    std::span<const Tag> fds() const { return fds_; } // what is open at each descriptor; 0: nothing
    const Ledger& managed() const { return ledger_; }
    const Pieces& unordered() const { return unordered_; }
    const Pieces& fetched() const { return fetched_; }
    const Pieces& supplied() const { return supplied_; }
    bool alive(Tag) const;
    Range bytes_of(Tag) const; // of a live or dead object
    dmaudit_block as_client_sees(Tag block) const;
    Tag pool_of(uint32_t device) const;
    const dmaudit_provider& provider() const { return *inner_; }
    bool promises(uint64_t bit) const { return (inner_->promises & bit) != 0; }
    AuditMarks marks;
    // Called for each event that was applied, in order (reports replay a case with it). May be null.
    struct Trace {
        virtual ~Trace() = default;
        virtual void applied(Event, Range) = 0;
    }* trace = nullptr;
    // 1 for each (event, state before, of the first and the last byte) that was judged; features for a fuzzer. May be
    // null.
    uint8_t* cells = nullptr;
    static constexpr size_t cell_count = event_count * (2 * state_count + 1);

  private:
    uint8_t* door(uint64_t at) const { return around_.provider_view + at; }
    uint8_t* client(uint64_t at) const { return around_.client_view + at; }
    bool coherent(uint32_t device) const { return around_.devices[device].coherent; }
    bool iommu(uint32_t device) const { return around_.devices[device].iommu; }
    uint64_t bus_offset(uint32_t device) const { return around_.devices[device].offset; }
    std::nullopt_t fail(RuleId, Range, Tag, const char* what);
    void fail(RuleId, Range, Tag, const char* what, uint64_t expected, uint64_t got);
    void fail(RuleId, Range, Tag, const char* what, Code expected, Code got);
    void fail(RuleId, Range, Tag, const char* what, Bus);
    bool judge(Event, Range, Tag); // false and a violation
    void apply(Event, Range);
    void own(Range, uint32_t tag);
    void mirror(Range, bool allowed);
    void lift_mirror();
    void mirror_by_state(Range);

    // registry checks; false: a violation was set
    bool check_alive(Tag, Kind wanted, RuleId dead);
    bool check_block(const dmaudit_block&, bool by_cpu_only, bool managed = false);
    bool check_tested(Tag mapping);
    bool strict_cpu_access(Range, bool write, bool index, Tag object);
    bool strict_device_read(Range, Tag block);
    bool exhausted_by(Range, Tag object); // false
    bool check_mapping(const dmaudit_mapping&, RuleId dead, RuleId mismatch);
    bool check_range(uint64_t offset, uint64_t length, uint64_t size, RuleId outside, Tag);
    bool cannot_be_told(const dmaudit_block& claimed, std::optional<uint32_t> direction = {}) const;
    int illegal_free(const dmaudit_block&, bool pool, int* ours, bool managed = false);
    int pass_noncoherent_free(const dmaudit_block&, uint32_t direction, Via via);
    bool check_noncoherent_free(const dmaudit_block&, uint32_t direction, Via via);
    int illegal_noncoherent_free(const dmaudit_block&, uint32_t direction, Via via);

    // illegal calls, passed on: each returns what the auditor's call returns
    bool passes_on(uint32_t device, std::initializer_list<RuleId> mistakes) const;
    int must_refuse(Tag, int rc);
    dmaudit_mapping as_claimed(const dmaudit_mapping&) const;
    bool names_a_live_mapping(const dmaudit_mapping& claimed) const;
    bool claimed_list(Tag, uint32_t device, uint32_t direction, bool table, dmaudit_sg& out);
    int illegal_unmap(const dmaudit_mapping&, uint64_t used, uint32_t attrs);
    int illegal_sync(const dmaudit_mapping&, uint64_t offset, uint64_t length, uint32_t direction, uint32_t phase);
    int illegal_unmap_sg(Tag, uint32_t device, uint32_t n_entries, uint32_t direction, uint32_t attrs, bool table);
    int illegal_sync_sg(Tag, uint32_t device, uint32_t n_entries, uint32_t direction, uint32_t phase, bool table);
    int illegal_put(Tag ref);
    int illegal_detach(Tag attachment);
    int illegal_unmap_attachment(Tag attachment, uint32_t direction);

    uint64_t reach_of(uint32_t device, bool memory) const;
    template <class Call>
    int parameter(uint64_t value, bool must_refuse, bool must_accept, uint64_t& kept, Call);

    // line rules
    bool lines_at_map(Range, Direction, uint32_t device, Tag object);
    bool lines_at_cpu_write(Range);
    bool lines_at_sync_for_device(Range, const MappingRecord&);
    bool lines_at_invalidate(Range, Tag object);
    void own_up_to_dirt(Range);
    void keep_dirty_lines(Range, Direction, bool bounced);

    // several mappings over one byte
    bool shared_with_others(Tag mapping, Range) const;
    bool hold(Tag mapping, Range, bool with_cpu);
    bool remember_holders(Tag newcomer, Range, bool skip);
    void recompute(Range);

    // results
    bool check_handed_to_device(const MappingRecord&, uint64_t offset, uint64_t length);
    int exported(Range, Tag of, const std::function<int(uint64_t*)>& provider, Tag* out);
    bool check_ref(Tag);
    bool check_fd(int fd);
    int lowest_free_fd() const;
    bool check_last(Tag buf);
    void dropped(Tag buf);
    bool accept_segments(AttachmentRecord&, Tag);
    void mapped_together(Tag newcomer);
    bool others_write(Tag attachment, Direction) const;
    void confuse_open_brackets(const BufRecord&);
    void confuse_edges(Range written, Range buffer);
    void handed_to_readers(Tag buf);
    bool check_importer_sees(const AttachmentRecord&, Range);
    bool check_bracket(const BufRecord&, Range, bool write, Tag object);
    bool check_write_loses_nothing(const BufRecord&, Range, Tag object);
    bool exported_access(Range, bool write, Tag object);
    struct Planned { // a mapping that the client may make
        Range at;
        Tag object;
        Direction direction;
        Event event;
        bool skip;
        bool edges_of_list = false; // what shares its edge lines are other entries of its list
    };
    Planned plan(Range, Tag object, uint32_t direction, uint32_t attrs) const;
    bool may_map(const Planned&, uint32_t device);
    void before_map(const Planned&);
    Tag accept_mapping(const dmaudit_request&, const Planned&, const dmaudit_mapping&, Tag sg);
    bool check_sg(Tag, uint32_t device, uint32_t n_entries, RuleId dead);
    void unmapped(Tag mapping, Event head, uint64_t used, Event tail);
    bool accept_block(const dmaudit_request&, const dmaudit_block&, Tag pool, Event, dmaudit_block* out);
    bool check_window(Tag block, uint64_t pgoff, uint64_t pages, const dmaudit_window&, Tag* out);
    bool check_sync_direction(Direction of, uint32_t direction, bool for_cpu, Range, Tag);
    uint8_t* token(Tag block) const { return tokens_ + uint64_t{tag_slot(block)} * token_bytes; }
    void scribble_over(Range);
    std::optional<uint64_t> first_not_scribbled(Range) const;
    void note_tail(Tag block);
    bool check_tail(Tag block); // false and a violation: the provider has written into it
    std::optional<uint64_t> first_translated(uint32_t device, uint64_t bus, Range gone, Tag self) const;
    bool check_rights(uint32_t device, uint64_t bus, Range bytes, Direction, Tag);
    bool check_isolated(const MappingRecord&, Tag);
    bool check_unreachable(uint32_t device, uint64_t bus, Range gone, Tag);
    // managed
    void manage(Resource::Kind, uint32_t device, Tag, uint64_t uncached_before);
    void check_cached_again(const BlockRecord& freed, Tag);
    bool managed_stands();
    bool stands(const Resource&) const;
    bool page_is_shared(Range page, Tag but, uint32_t device, uint32_t gone) const;
    bool remains(const Resource&, uint32_t gone) const;
    bool outlives_driver(uint32_t device);
    bool may_release(uint32_t device, uint32_t first);
    template <class Call, class Done> int release_since(uint32_t device, uint32_t first, Call, Done);
    void action_runs(ActionRecord&);
    bool goes_with_close(uint64_t at) const;
    void refused(bool by_contract, uint64_t uncached_before, Tag);
    // Was a legal request refused with a code that says its caller erred? `longest`: bytes of its longest part.
    bool blamed_caller(int rc, const dmaudit_request&, uint64_t longest, Range at, Tag);
    // The same of a call for which no busy state and, if `whole`, no number is an excuse.
    bool blamed_caller(int rc, bool whole, Range at, Tag);
    bool reaches_in_place(uint32_t device, Range at) const;
    int legal_failed(int rc, uint64_t uncached_before, Range at, Tag); // both of what a failed legal call is asked

    // Opaque blocks are named by addresses in a range that nobody can touch: a dereference faults at once.
    static constexpr uint64_t token_bytes = 65536;
    uint8_t* tokens_ = nullptr;
    Surroundings around_;
    Evidence* evidence_ = nullptr;
    const dmaudit_provider* inner_ = nullptr;
    void* ctx_ = nullptr;
    ShadowMap map_;
    IdentityMap identity_;
    Slots<BufferRecord, Kind::buffer> buffers_;
    Slots<BlockRecord, Kind::block> blocks_;
    Slots<MappingRecord, Kind::mapping> mappings_;
    Slots<PoolRecord, Kind::pool> pools_;
    Slots<WindowRecord, Kind::window> windows_;
    Slots<SgRecord, Kind::sg> sgs_;
    Slots<BufRecord, Kind::exported> bufs_;
    Slots<BufRefRecord, Kind::dma_buf> buf_refs_;
    Slots<AttachmentRecord, Kind::attachment> attachments_;
    std::array<Tag, 64> fds_{};
    Ledger ledger_;
    std::array<Driver, 8> drivers_{};
    struct Teardown { // while the provider releases what is managed: on which device, from which position on
        bool active = false;
        uint32_t device = 0, first = 0;
    } teardown_;
    std::optional<Violation> violation_;
    uint8_t* mirrored_view_ = nullptr; // poisoned in ASan's shadow, but for some of `allowed_`
    uint64_t mirrored_ = 0;
    Range allowed_;
    Range current_; // the bytes of the call that is being made: the provider may change their cache state
    bool forward_illegal_ = false, refused_illegal_ = false, audits_ = true, closing_ = false;
    Strict strict_;
    Pieces unordered_, fetched_; // coherent bytes that the CPU has stored, and read, since the last barrier
    Pieces supplied_;            // what devices wrote and the CPU has not overwritten, in worlds that ask
};

} // namespace dmaudit
