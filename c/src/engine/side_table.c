/* Branches of one function, from the opcode that branches to the entry of the side table. */
#include "validator.h"

#include <string.h>

enum {
    DROP_MAX = 7,
    KEEP_ONE = 7, /* added to the drop */
    ENTRIES_MIN = -2048,
    ENTRIES_MAX = 2047,
    ENTRIES_SHIFT = 4
};

uint32_t wrt__add_branch(wrt__validator *validator, uint32_t drop, uint32_t keep)
{
    wrt__branch *branch = &validator->branches[validator->branch_count];

    branch->waiting.position = validator->position;
    branch->waiting.instruction = validator->instruction;
    branch->waiting.next = 0;
    branch->waiting.drop = drop;
    branch->waiting.keep = keep;
    return validator->branch_count++;
}

void wrt__resolve_branch(wrt__validator *validator, uint32_t branch, const wrt__target *target)
{
    wrt__branch *place = &validator->branches[branch];
    const wrt__branch from = *place;

    place->resolved = (wrt__long_branch){
        .bytes = (int32_t)(target->position - from.waiting.position),
        .fuel = (int32_t)(target->instruction - from.waiting.instruction - 1),
        .entries = (int32_t)(target->entry - branch),
        .drop = from.waiting.drop,
        .keep = from.waiting.keep,
    };
}

void wrt__chain_branch(wrt__validator *validator, wrt__frame *frame, uint32_t branch)
{
    validator->branches[branch].waiting.next = frame->waiting;
    frame->waiting = branch + 1;
}

void wrt__resolve_chain(wrt__validator *validator, const wrt__frame *frame,
                        const wrt__target *target)
{
    uint32_t waiting = frame->waiting;

    while (waiting != 0) {
        const uint32_t branch = waiting - 1;
        waiting = validator->branches[branch].waiting.next;
        wrt__resolve_branch(validator, branch, target);
    }
}

static bool fits_entry(const wrt__long_branch *branch)
{
    const bool is_near = branch->bytes >= INT16_MIN && branch->bytes <= INT16_MAX &&
                         branch->fuel >= INT16_MIN && branch->fuel <= INT16_MAX &&
                         branch->entries >= ENTRIES_MIN && branch->entries <= ENTRIES_MAX;

    return is_near && (branch->drop == 0 || (branch->drop <= DROP_MAX && branch->keep <= 1));
}

static void write_entry(uint16_t *entry, const wrt__long_branch *branch)
{
    const uint32_t stack =
        branch->drop == 0 ? 0 : branch->drop + (branch->keep == 1 ? KEEP_ONE : 0);

    entry[0] = (uint16_t)branch->bytes;
    entry[1] = (uint16_t)branch->fuel;
    entry[2] = (uint16_t)((uint32_t)branch->entries << ENTRIES_SHIFT | stack);
}

static bool write_long_entry(wrt__loader *loader, uint16_t *entry, const wrt__long_branch *branch)
{
    const uint32_t index = loader->long_branch_count;
    const size_t end = wrt__long_branches_end(loader, index + 1);

    if (!wrt__reserve(loader, (uint64_t)end + loader->scratch_bytes)) return false;
    memcpy(loader->buffer + end - sizeof *branch, branch, sizeof *branch);
    loader->long_branch_count = index + 1;
    entry[0] = (uint16_t)index;
    entry[1] = (uint16_t)(index >> 16);
    entry[2] = WRT__ENTRY_LONG;
    return true;
}

void wrt__write_side_table(wrt__validator *validator)
{
    wrt__loader *loader = validator->loader;
    uint16_t *entry = loader->module.side_table + (size_t)loader->entry_count * WRT__ENTRY_WORDS;

    for (uint32_t i = 0; i < validator->branch_count; i++, entry += WRT__ENTRY_WORDS) {
        const wrt__long_branch *branch = &validator->branches[i].resolved;
        if (fits_entry(branch)) {
            write_entry(entry, branch);
        } else if (!write_long_entry(loader, entry, branch)) {
            return;
        }
    }
    loader->entry_count += validator->branch_count;
}
