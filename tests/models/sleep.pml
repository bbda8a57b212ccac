/*
 * Two sides that send frames to each other, wait for room, and sleep: components/channel/src/packets.
 *
 * Each side has some buffers, writes a frame's number into one, and publishes how many it has sent (TAIL). The peer
 * takes frames and publishes how many buffers it has given back (FREED). A side that has frames left and no buffer
 * sleeps so that returned buffers wake it; else they do not.
 *
 * Properties: at rest, everything was sent and taken (no wake-up is lost); frames come whole and in order; a sleeping
 * side is notified once, and one that is awake is not; all comes to rest. Mutants besides those in doorbell.pml:
 *   RELAXED_TAIL         a frame may be counted before it is written
 *   KINDS_FORGOTTEN      a side that waits for a buffer does not say so
 *   RINGS_FIRST          the peer's flag is looked at before the news is published
 */

/* Frames of one side and of the other, buffers of each, and wake-ups by something else than the channel. */
#ifndef FRAMES
#define FRAMES 2
#endif
#ifndef FRAMES_BACK
#define FRAMES_BACK 1
#endif
#ifndef BUFFERS
#define BUFFERS 1
#endif
#ifndef OTHERS
#define OTHERS 1
#endif

#define TAIL 1
#define FREED 2
#define DATA 3
#define BLOCK (3 + BUFFERS)
#define WORDS (2 * BLOCK)

#include "memory.pml"
#include "doorbell.pml"

/* Frames that each side has to send: any number up to the bound. */
byte wanted[2];

byte others = OTHERS;

inline flush() {
    if
    :: news != 0 ->
        ring(news);
        news = 0
    :: else
    fi
}

inline take_frames() {
    do
    :: load(TAIL) != taken ->
        assert(load(DATA + taken % BUFFERS) == taken + 1);
        taken++;
        publish(FREED, taken);
        news = news | RETURNED
    :: else -> break
    od
}

inline send_frames() {
    do
    :: sent < wanted[me] ->
        freed = load(FREED);
        if
        :: sent - freed == BUFFERS -> break
        :: else
        fi;
        set(DATA + sent % BUFFERS, sent + 1);
        sent++;
#ifdef RINGS_FIRST
        news = news | ALWAYS;
        flush();
#endif
#ifdef RELAXED_TAIL
        set(TAIL, sent)
#else
        publish(TAIL, sent)
#endif
#ifndef RINGS_FIRST
        ; news = news | ALWAYS
#endif
    :: else -> break
    od
}

/* Lies down and looks once more; leaves `awake` true if there is work. */
inline sleep() {
    flush();
    waits = sent < wanted[me];
#ifdef KINDS_FORGOTTEN
    lie_down(0);
#else
    lie_down(waits * RETURNED);
#endif
#ifdef NO_RECHECK
    awake = false;
#else
    awake = load(TAIL) != taken;
    if
    :: !awake && waits -> awake = load(FREED) != freed
    :: else
    fi;
#endif
    waits = false
}

proctype side(byte me) {
    doorbell;
    byte sent, taken, freed, news;
    bool waits, awake;

    begin();
    /* A PD that has nothing to send need not look before it was notified. */
    if
    :: wanted[me] == 0 -> goto end
    :: skip
    fi;
round:
    wake();
    take_frames();
    if
    :: flush()
    :: skip
    fi;
    send_frames();
    sleep();
    if
    :: awake -> awake = false; goto round
    /* Something else than this channel may wake the PD. */
    :: atomic { !awake && others > 0 -> others-- }; goto round
    :: !awake -> skip
    fi;
end:
    await();
    goto round
}

/* Whether all that side `from` had to send was taken, and its buffers have come back. */
#define delivered(from) \
    (memory[from * BLOCK + TAIL] == wanted[from] && memory[(1 - from) * BLOCK + FREED] == wanted[from])

init {
    byte frames;
    atomic {
        select(frames : 0 .. FRAMES);
        wanted[0] = frames;
        select(frames : 0 .. FRAMES_BACK);
        wanted[1] = frames;
        frames = 0;
        run side(0);
        run side(1);
        run drain(0);
        run drain(1)
    }
end:
    /* Nobody can do anything any more. */
    timeout -> assert(delivered(0) && delivered(1))
}
