/* Internal: the interpreter as one function with a label an opcode, for compilers that give labels
 * addresses and keep an indirect jump at the end of each (gcc). */
#define DISPATCH                  goto *dispatch[*pc]
#define DISPATCH_PREFIXED(number) goto *prefixed[number]
#define WRITE_BACK                (x->pc = pc, x->sp = sp, x->fp = fp)
#define READ_AGAIN                (pc = x->pc, sp = x->sp, fp = x->fp, memory = x->memory)
#define STOP(why)                                                                                  \
    do {                                                                                           \
        stopped = (why);                                                                           \
        goto stop;                                                                                 \
    } while (0)
#define STOP_SAVED(why) return why

#pragma GCC diagnostic ignored "-Wpedantic" /* labels as values */
#pragma GCC diagnostic ignored "-Woverride-init"

enum wrt__outcome wrt__interpret(wrt__execution *x, bool one_by_one)
{
#define OPCODE(code, identifier, ...)    [code] = &&PLAIN_##identifier,
#define OPCODE_FC(code, identifier, ...) /* below */
    static const void *const plain[256] = {
#include "opcodes.inc"
    };
#undef OPCODE
#define OPCODE(code, identifier, ...) [code] = &&IN_MODE(RUN_MODE, identifier),
    static const void *const fast[256] = {
#include "opcodes.inc"
    };
    static const void *const counted[256] = {[0 ... 255] = &&count};
#undef OPCODE
#undef OPCODE_FC
#define OPCODE(code, identifier, ...)    /* above */
#define OPCODE_FC(code, identifier, ...) [code] = &&PLAIN_##identifier,
    static const void *const prefixed[] = {
#include "opcodes.inc"
    };
#undef OPCODE
#undef OPCODE_FC
    const void *const *const dispatch = one_by_one ? counted : fast;
    const uint8_t *pc = x->pc;
    wrt_value *sp = x->sp, *fp = x->fp;
    uint8_t *memory = x->memory;
    enum wrt__outcome stopped;

    DISPATCH;

count:
    if (x->steps == 0) STOP(WRT__STEPPED);
    x->steps--;
    goto *plain[*pc];

#define OPCODE(code, identifier, text, immediates, takes, gives, traps, feature, ...)              \
    IN_MODE(MODE, identifier) :                                                                    \
    {                                                                                              \
        const uint8_t *const operands = pc + 1;                                                    \
        (void)operands;                                                                            \
        __VA_ARGS__;                                                                               \
    }
#define OPCODE_FC(code, identifier, text, immediates, takes, gives, traps, feature, ...)           \
    IN_MODE(MODE, identifier) :                                                                    \
    {                                                                                              \
        const uint8_t *const operands = x->operands;                                               \
        (void)operands;                                                                            \
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

stop:
    WRITE_BACK;
    return stopped;
}
