/* Internal: the instructions of filters, as the kernel numbers them (linux/bpf_common.h and
 * linux/seccomp.h): part of its interface, and stated here since the compiler uses no header of the
 * system. */
#ifndef WRT_LINUX_BPF_H
#define WRT_LINUX_BPF_H

enum wrt__bpf {
    BPF_LOAD_WORD = 0x20,  /* accumulator = 32 bits of the call, at `value` */
    BPF_JUMP = 0x05,       /* over `value` instructions */
    BPF_JUMP_EQUAL = 0x15, /* the accumulator and `value` */
    BPF_JUMP_GREATER = 0x25,
    BPF_JUMP_GREATER_EQUAL = 0x35,
    BPF_JUMP_BITS = 0x45, /* any bit of `value` is set */
    BPF_AND_WORD = 0x54,
    BPF_RETURN = 0x06
};

/* Where a filter finds what it looks at. */
enum wrt__bpf_offset {
    BPF_OFFSET_NUMBER = 0,
    BPF_OFFSET_ARCHITECTURE = 4,
    BPF_OFFSET_POINTER = 8,
    BPF_OFFSET_ARGUMENTS = 16,
    BPF_DATA_SIZE = 64
};

#define BPF_ANSWER_KILL   0x80000000U
#define BPF_ANSWER_TRAP   0x00030000U
#define BPF_ANSWER_ERRNO  0x00050000U
#define BPF_ANSWER_LOG    0x7ffc0000U
#define BPF_ANSWER_ALLOW  0x7fff0000U
#define BPF_ANSWER_ACTION 0xffff0000U
#define BPF_ANSWER_DATA   0x0000ffffU

#endif
