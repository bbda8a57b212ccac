/* The system calls and invocations of the SDK's libsel4, as functions.
 *
 * libsel4 finds the IPC buffer in a variable. Each function gets the buffer from its caller, so that Rust knows when
 * it is written. */

#include <microkit.h>

_Static_assert(sizeof(seL4_Word) == 8, "a word has 64 bits");
_Static_assert(__builtin_offsetof(seL4_IPCBuffer, msg) == 8, "message registers are behind the tag");
_Static_assert(__builtin_offsetof(seL4_IPCBuffer, caps_or_badges) == 122 * 8, "capabilities are behind user data");
_Static_assert(__builtin_offsetof(seL4_IPCBuffer, receiveDepth) == 127 * 8, "the buffer has 128 words");

seL4_IPCBuffer *__sel4_ipc_buffer;

struct received {
    seL4_Word info;
    seL4_Word badge;
};

static seL4_MessageInfo_t tag(seL4_Word word)
{
    return (seL4_MessageInfo_t) {
        .words = { word }
    };
}

void selkie_send(seL4_IPCBuffer *buffer, seL4_CPtr target, seL4_Word info);
void selkie_send(seL4_IPCBuffer *buffer, seL4_CPtr target, seL4_Word info)
{
    __sel4_ipc_buffer = buffer;
    seL4_Send(target, tag(info));
}

void selkie_nb_send(seL4_IPCBuffer *buffer, seL4_CPtr target, seL4_Word info);
void selkie_nb_send(seL4_IPCBuffer *buffer, seL4_CPtr target, seL4_Word info)
{
    __sel4_ipc_buffer = buffer;
    seL4_NBSend(target, tag(info));
}

seL4_Word selkie_call(seL4_IPCBuffer *buffer, seL4_CPtr target, seL4_Word info);
seL4_Word selkie_call(seL4_IPCBuffer *buffer, seL4_CPtr target, seL4_Word info)
{
    __sel4_ipc_buffer = buffer;
    return seL4_Call(target, tag(info)).words[0];
}

struct received selkie_recv(seL4_IPCBuffer *buffer, seL4_CPtr source, seL4_CPtr reply);
struct received selkie_recv(seL4_IPCBuffer *buffer, seL4_CPtr source, seL4_CPtr reply)
{
    struct received received;
    __sel4_ipc_buffer = buffer;
    received.info = seL4_Recv(source, &received.badge, reply).words[0];
    return received;
}

struct received selkie_reply_recv(seL4_IPCBuffer *buffer, seL4_CPtr source, seL4_Word info, seL4_CPtr reply);
struct received selkie_reply_recv(seL4_IPCBuffer *buffer, seL4_CPtr source, seL4_Word info, seL4_CPtr reply)
{
    struct received received;
    __sel4_ipc_buffer = buffer;
    received.info = seL4_ReplyRecv(source, tag(info), &received.badge, reply).words[0];
    return received;
}

struct received selkie_nb_send_recv(seL4_IPCBuffer *buffer, seL4_CPtr target, seL4_Word info, seL4_CPtr source,
                                    seL4_CPtr reply);
struct received selkie_nb_send_recv(seL4_IPCBuffer *buffer, seL4_CPtr target, seL4_Word info, seL4_CPtr source,
                                    seL4_CPtr reply)
{
    struct received received;
    __sel4_ipc_buffer = buffer;
    received.info = seL4_NBSendRecv(target, tag(info), source, &received.badge, reply).words[0];
    return received;
}

void selkie_signal(seL4_CPtr notification);
void selkie_signal(seL4_CPtr notification)
{
    seL4_Signal(notification);
}

void selkie_yield(void);
void selkie_yield(void)
{
    seL4_Yield();
}

seL4_Word selkie_irq_ack(seL4_IPCBuffer *buffer, seL4_CPtr handler);
seL4_Word selkie_irq_ack(seL4_IPCBuffer *buffer, seL4_CPtr handler)
{
    __sel4_ipc_buffer = buffer;
    return seL4_IRQHandler_Ack(handler);
}

seL4_Word selkie_tcb_suspend(seL4_IPCBuffer *buffer, seL4_CPtr tcb);
seL4_Word selkie_tcb_suspend(seL4_IPCBuffer *buffer, seL4_CPtr tcb)
{
    __sel4_ipc_buffer = buffer;
    return seL4_TCB_Suspend(tcb);
}

seL4_Word selkie_tcb_resume(seL4_IPCBuffer *buffer, seL4_CPtr tcb);
seL4_Word selkie_tcb_resume(seL4_IPCBuffer *buffer, seL4_CPtr tcb)
{
    __sel4_ipc_buffer = buffer;
    return seL4_TCB_Resume(tcb);
}

seL4_Word selkie_tcb_read_registers(seL4_IPCBuffer *buffer, seL4_CPtr tcb, seL4_Bool suspend, seL4_UserContext *regs);
seL4_Word selkie_tcb_read_registers(seL4_IPCBuffer *buffer, seL4_CPtr tcb, seL4_Bool suspend, seL4_UserContext *regs)
{
    __sel4_ipc_buffer = buffer;
    return seL4_TCB_ReadRegisters(tcb, suspend, 0, sizeof(*regs) / sizeof(seL4_Word), regs);
}

seL4_Word selkie_tcb_write_registers(seL4_IPCBuffer *buffer, seL4_CPtr tcb, seL4_Bool resume, seL4_UserContext *regs);
seL4_Word selkie_tcb_write_registers(seL4_IPCBuffer *buffer, seL4_CPtr tcb, seL4_Bool resume, seL4_UserContext *regs)
{
    __sel4_ipc_buffer = buffer;
    return seL4_TCB_WriteRegisters(tcb, resume, 0, sizeof(*regs) / sizeof(seL4_Word), regs);
}

void selkie_debug_put_char(char byte);
void selkie_debug_put_char(char byte)
{
#if defined(CONFIG_PRINTING)
    seL4_DebugPutChar(byte);
#endif
}
