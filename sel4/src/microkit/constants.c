/* Numbers of the kernel's interface. The build script reads them from the assembly that this becomes. */

#include <microkit.h>

#define CONSTANT(name, value) __asm__ volatile("\n#selkie_constant " #name " %0\n" ::"i"(value))
#define WORD_OF(type, field) (__builtin_offsetof(type, field) / sizeof(seL4_Word))

#if defined(CONFIG_ARCH_X86_64)
#define PC rip
#define SP rsp
#else
#define PC pc
#define SP sp
#endif

void selkie_constants(void);
void selkie_constants(void)
{
    CONSTANT(MESSAGE_REGISTERS, seL4_MsgMaxLength);
    CONSTANT(IPC_BUFFER, seL4_UserVSpaceTop & ~((1ull << seL4_PageBits) - 1));
    CONSTANT(IRQ_ACK, IRQAckIRQ);

    CONSTANT(USER_CONTEXT_WORDS, sizeof(seL4_UserContext) / sizeof(seL4_Word));
    CONSTANT(USER_CONTEXT_PC, WORD_OF(seL4_UserContext, PC));
    CONSTANT(USER_CONTEXT_SP, WORD_OF(seL4_UserContext, SP));

    CONSTANT(FAULT_CAP, seL4_Fault_CapFault);
    CONSTANT(FAULT_UNKNOWN_SYSCALL, seL4_Fault_UnknownSyscall);
    CONSTANT(FAULT_USER_EXCEPTION, seL4_Fault_UserException);
    CONSTANT(FAULT_VM, seL4_Fault_VMFault);

    CONSTANT(SLOT_MONITOR, MONITOR_EP);
    CONSTANT(SLOT_NOTIFICATIONS, BASE_OUTPUT_NOTIFICATION_CAP);
    CONSTANT(SLOT_ENDPOINTS, BASE_ENDPOINT_CAP);
    CONSTANT(SLOT_IRQS, BASE_IRQ_CAP);
    CONSTANT(SLOT_CHILDREN, BASE_TCB_CAP);

#if defined(CONFIG_ARCH_X86_64)
    CONSTANT(IO_PORT_IN_8, X86IOPortIn8);
    CONSTANT(IO_PORT_IN_32, X86IOPortIn32);
    CONSTANT(IO_PORT_OUT_8, X86IOPortOut8);
    CONSTANT(IO_PORT_OUT_32, X86IOPortOut32);
#endif
}
