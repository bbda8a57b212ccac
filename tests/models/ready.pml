/*
 * News of slots as bits that are flipped: components/channel/src/ready.rs, with the doorbell.
 *
 * Side 0 has news for slots of side 1: it writes a slot's word (NEWS), marks the slot, and in a flush flips the
 * bits of marked slots (FLIPPED), but for those whose last flip the reader has not seen (SEEN). Side 1 copies
 * the bits to SEEN and then looks at the slots whose bits have changed. So a bit that is still unseen stands for
 * all later news of its slot too, and news for which no bit was flipped rings no bell.
 *
 * Properties: at rest, the reader knows the last news of every slot; those of the doorbell. Mutants besides those
 * in doorbell.pml:
 *   NO_WRITER_FENCE      the look at SEEN may come before the news
 *   NO_READER_FENCE      the look at a slot may come before SEEN
 *   LOOK_BEFORE_SEEN     the slots are looked at before SEEN is written
 *   FLIPS_UNSEEN         an unseen bit is flipped back
 */

/* News in all, and wake-ups by something else than the channel. */
#ifndef CHANGES
#define CHANGES 3
#endif
#ifndef OTHERS
#define OTHERS 1
#endif

#define SLOTS 2

/* The writer's block holds FLIPPED and NEWS, the reader's SEEN. */
#define FLIPPED 1
#define SEEN 1
#define NEWS 2
#define BLOCK (NEWS + SLOTS)
#define WORDS (2 * BLOCK)

#include "memory.pml"
#include "doorbell.pml"

byte others = OTHERS;

/* What the reader knows of each slot. */
byte known[SLOTS];

inline flush() {
    if
    :: marked != 0 ->
#ifndef NO_WRITER_FENCE
        fence();
#endif
        unseen = flipped ^ load(SEEN);
#ifdef FLIPS_UNSEEN
        unseen = 0;
#endif
        flips = marked & ~unseen;
        marked = 0;
        if
        :: flips != 0 ->
            flipped = flipped ^ flips;
            publish(FLIPPED, flipped);
            ring(ALWAYS)
        :: else
        fi;
        unseen = 0;
        flips = 0
    :: else
    fi
}

proctype writer(byte me) {
    doorbell;
    byte flipped, marked, unseen, flips, slot;
    byte news[SLOTS];
    byte left = CHANGES;

    do
    :: left > 0 ->
        left--;
        select(slot : 0 .. SLOTS - 1);
        news[slot]++;
        publish(NEWS + slot, news[slot]);
        marked = marked | (1 << slot);
        slot = 0;
        if
        :: flush()
        :: skip
        fi
    :: left = 0; break
    od;
    flush()
}

inline look() {
    do
    :: waiting != 0 ->
        slot = (waiting & 1 -> 0 : 1);
        known[slot] = load(NEWS + slot);
        waiting = waiting & ~(1 << slot);
        slot = 0
    :: else -> break
    od
}

inline collect() {
    flips = load(FLIPPED) ^ seen;
    if
    :: flips != 0 ->
        waiting = waiting | flips;
        seen = seen ^ flips;
        flips = 0;
#ifdef LOOK_BEFORE_SEEN
        look();
#endif
        publish(SEEN, seen);
#ifndef NO_READER_FENCE
        fence()
#endif
    :: else
    fi
}

proctype reader(byte me) {
    doorbell;
    byte seen, waiting, flips, slot;

    begin();
    /* A PD need not look before it was notified. */
    if
    :: goto end
    :: skip
    fi;
round:
    wake();
    collect();
    look();
    lie_down(0);
#ifndef NO_RECHECK
    if
    :: load(FLIPPED) != seen -> goto round
    :: else
    fi;
#endif
    if
    /* Something else than this channel may wake the PD. */
    :: atomic { others > 0 -> others-- }; goto round
    :: skip
    fi;
end:
    await();
    goto round
}

#define known_at(slot) (known[slot] == memory[NEWS + slot])

init {
    atomic {
        run writer(0);
        run reader(1);
        run drain(0);
        run drain(1)
    }
end:
    /* Nobody can do anything any more. */
    timeout -> assert(known_at(0) && known_at(1))
}
