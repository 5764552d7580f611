/* Internal: the interpreter as one function an opcode, each of which ends in a jump to the next
 * (clang's guaranteed tail calls). The six parameters are what the calling convention passes in
 * registers: that is where the machine's state stays. */
typedef struct dispatch_table dispatch_table;

typedef enum wrt__outcome handler(const uint8_t *pc, wrt_value *sp, wrt_value *fp, uint8_t *memory,
                                  wrt__execution *x, const dispatch_table *dispatch);

struct dispatch_table {
    handler *at[256];
};

#define HANDLER(name) HANDLER_(name)
#define HANDLER_(name)                                                                             \
    static enum wrt__outcome name(const uint8_t *pc, wrt_value *sp, wrt_value *fp,                 \
                                  uint8_t *memory, wrt__execution *x,                              \
                                  const dispatch_table *dispatch)
#define JUMP(target)              __attribute__((musttail)) return target(pc, sp, fp, memory, x, dispatch)
#define DISPATCH                  JUMP(dispatch->at[*pc])
#define DISPATCH_PREFIXED(number) JUMP(prefixed.at[number])
#define WRITE_BACK                (x->pc = pc, x->sp = sp, x->fp = fp)
#define READ_AGAIN                (pc = x->pc, sp = x->sp, fp = x->fp, memory = x->memory)
#define STOP(why)                                                                                  \
    do {                                                                                           \
        WRITE_BACK;                                                                                \
        return why;                                                                                \
    } while (0)
#define STOP_SAVED(why) return why

static const dispatch_table plain, prefixed;

HANDLER(count)
{
    (void)dispatch; /* it goes on through `plain`, which comes back here by the same argument */
    if (x->steps == 0) STOP(WRT__STEPPED);
    x->steps--;
    JUMP(plain.at[*pc]);
}

#define OPCODE(code, identifier, text, immediates, takes, gives, traps, feature, ...)              \
    HANDLER(IN_MODE(MODE, identifier))                                                             \
    {                                                                                              \
        const uint8_t *const operands = pc + 1;                                                    \
        (void)operands, (void)memory, (void)dispatch;                                              \
        __VA_ARGS__;                                                                               \
    }
#define OPCODE_FC(code, identifier, text, immediates, takes, gives, traps, feature, ...)           \
    HANDLER(IN_MODE(MODE, identifier))                                                             \
    {                                                                                              \
        const uint8_t *const operands = x->operands;                                               \
        (void)operands, (void)memory, (void)dispatch;                                              \
        __VA_ARGS__;                                                                               \
    }
#define MODE PLAIN
#include "opcodes.inc"
#undef OPCODE_FC
#undef MODE
#define OPCODE_FC(...) /* all of them are rare */
#define MODE           FAST
#include FAST_OPCODES
#undef OPCODE
#undef OPCODE_FC
#undef MODE

#pragma clang diagnostic ignored "-Wgnu-designator"

#define OPCODE(code, identifier, ...)    [code] = PLAIN_##identifier,
#define OPCODE_FC(code, identifier, ...) /* below */
static const dispatch_table plain = {{
#include "opcodes.inc"
}};
#undef OPCODE
#define OPCODE(code, identifier, ...) [code] = IN_MODE(RUN_MODE, identifier),
static const dispatch_table fast = {{
#include "opcodes.inc"
}};
static const dispatch_table counted = {{[0 ... 255] = count}};
#undef OPCODE
#undef OPCODE_FC
#define OPCODE(code, identifier, ...)    /* above */
#define OPCODE_FC(code, identifier, ...) [code] = PLAIN_##identifier,
static const dispatch_table prefixed = {{
#include "opcodes.inc"
}};
#undef OPCODE
#undef OPCODE_FC

enum wrt__outcome wrt__interpret(wrt__execution *x, bool one_by_one)
{
    const dispatch_table *const dispatch = one_by_one ? &counted : &fast;

    return dispatch->at[*x->pc](x->pc, x->sp, x->fp, x->memory, x, dispatch);
}
