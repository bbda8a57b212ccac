/*
 * Two sides of which each may lose its memory and start over at any moment: components/channel/src/epoch.rs.
 *
 * A side's block has a word with its epoch and the peer's epoch that it has joined (LINK), and one word for all else
 * that it writes in a session (DATA). Who starts over finds its block zeroed, the epoch first.
 *
 * Properties: what a side reads in one session comes from one session of its peer, and goes to no other session of its
 * own (so no data of one life is taken for another's); at rest both have joined each other and read all that the peer
 * wrote, so no wake-up is lost. Mutants:
 *   FIXED_EPOCH         each life takes the same epoch
 *   JOINS_FIRST         a side joins before it has brought its own block back to its first state
 *   NO_JOIN_FENCE       the peer's data may be looked at before the peer can see that it was joined
 *   WRITES_AT_ONCE      data is written before the peer has joined
 *   JOINS_SILENTLY      who joins does not notify the peer
 *   KEEPS_EPOCH         a side that resets for the next peer keeps its epoch
 *   LOSES_RESTART       a side that reads a wrong word disables its port even if the peer has restarted
 *
 * Once a side may write a wrong word. A peer that reads it looks at the epoch again. If that has changed the peer joins the
 * next incarnation, as if it had not read the word; if not, it disables its port permanently.
 *
 * Side 0 may be told that side 1 has faulted, before that one is wiped, as the supervisor is told of the console. It then
 * ends the session at once, and waits for the next life.
 */

/* How often sides lose their memory, both together. With 2 the search takes minutes. */
#ifndef FAULTS
#define FAULTS 1
#endif

#define LINK 0
#define DATA 1
#define BLOCK 2
#define WORDS (2 * BLOCK)

#include "memory.pml"

/* What a side that has something to say writes in a session: this many items, one after the other. */
#define ITEMS 2
byte wanted[2];

/* More sessions than so few faults make. */
#define SESSIONS 16

/* A word of data says who wrote it and how many came before. */
#define word_of(session, item) ((session) * (ITEMS + 1) + (item))
#define session_of(word) ((word) / (ITEMS + 1))
#define item_of(word) ((word) % (ITEMS + 1))

/* Both halves of a link; a model's epochs stay small. */
#define link_of(epoch, joined) ((epoch) * 16 + (joined))
#define NOBODY 255
#define epoch_in(link) ((link) / 16)
#define joined_in(link) ((link) % 16)

bool notification[2];

byte faults = FAULTS;

/* How many wrong words both write together. */
byte errors = 1;
#define WRONG 255

/* Side i disabled its port while its peer was still the incarnation that wrote the wrong word. */
bool given_up[2];

/* Side 1 has faulted, which side 0 is to be told. */
bool fallen;

/* Where each session's data came from, and where it went: by side and session. */
byte from[2 * SESSIONS];
byte went[2 * SESSIONS];
#define mine_is(session) ((me) * SESSIONS + (session))
#define peers_is(session) ((1 - me) * SESSIONS + (session))

inline notify() { notification[1 - me] = true }

inline begin_session() {
    session++;
    assert(session < SESSIONS);
    met = false;
    sent = 0;
    got = 0
}

inline start() {
    /* The entry zeroes the block. */
    set(LINK, 0);
    fence();
    set(DATA, 0);
    fence();
    known = load(LINK);
#ifdef FIXED_EPOCH
    epoch = 1;
#else
    epoch = joined_in(known) + 1;
#endif
    known = epoch_in(known);
    dead = NOBODY;
    publish(LINK, link_of(epoch, known));
    fence();
    given_up[me] = false;
    begin_session();
    notify()
}

inline reset_for_next_peer() {
    publish(DATA, 0);
    dead = load(LINK);
#ifndef KEEPS_EPOCH
    epoch = joined_in(dead) + 1;
#endif
    known = 0;
    publish(LINK, link_of(epoch, known));
    fence();
    begin_session()
}

inline join() {
#ifdef JOINS_FIRST
    known = epoch_in(load(LINK));
    publish(LINK, link_of(epoch, known));
    fence();
    publish(DATA, 0);
#else
    publish(DATA, 0);
    known = epoch_in(load(LINK));
    publish(LINK, link_of(epoch, known));
#ifndef NO_JOIN_FENCE
    fence();
#endif
#endif
    begin_session();
#ifndef JOINS_SILENTLY
    notify()
#endif
}

#define changed (epoch_in(load(LINK)) != known && load(LINK) != dead)
#define joined (known != 0 && load(LINK) == link_of(known, epoch))

/* Anywhere a side may fault. It is wiped when whoever is told has taken note. */
inline fault() {
    atomic { faults > 0 -> faults-- };
    if
    :: me == 1 -> fallen = true; !fallen
    :: true
    fi
}

inline or_fault() {
    if
    :: fault(); goto again
    :: skip
    fi
}

inline take_note() {
    d_step {
        /* All of a session from one session, and to no other. */
        assert(from[mine_is(session)] == 0 || from[mine_is(session)] == session_of(data));
        assert(went[peers_is(session_of(data))] == 0 || went[peers_is(session_of(data))] == session);
        from[mine_is(session)] = session_of(data);
        went[peers_is(session_of(data))] = session;
        got = item_of(data)
    }
}

proctype side(byte me) {
    byte session, epoch, known, dead, data, sent, got;
    bool met;

again:
    start();
round:
    or_fault();
    if
    :: changed -> join()
    :: else
    fi;
    or_fault();
    met = met || joined;
    if
#ifdef WRITES_AT_ONCE
    :: sent < wanted[me] ->
#else
    :: met && sent < wanted[me] ->
#endif
        sent++;
        if
        :: atomic { errors > 0 -> errors-- }; publish(DATA, WRONG)
        :: publish(DATA, word_of(session, sent))
        fi;
        fence();
        notify()
    :: else
    fi;
    or_fault();
    if
    :: met && got < wanted[1 - me] ->
        data = load(DATA);
        if
        :: data == WRONG ->
            atomic {
                if
                :: changed ->
                    data = 0;
#ifdef LOSES_RESTART
                    goto failed
#else
                    goto round
#endif
                :: else ->
                    data = 0;
                    given_up[me] = true;
                    goto failed
                fi
            }
        :: data != 0 && data != WRONG && !changed ->
            take_note()
        :: else
        fi;
        data = 0
    :: else
    fi;
    or_fault();
    /* The second look of who sleeps. */
    if
    :: changed || (!met && joined) || (met && sent < wanted[me]) -> goto round
    :: else
    fi;
    if
    :: met && got < wanted[1 - me] ->
        data = load(DATA);
        if
        :: data != 0 && (data == WRONG || item_of(data) != got) -> data = 0; goto round
        :: else -> data = 0
        fi
    :: else
    fi;
end:
    if
    :: atomic { notification[me] -> notification[me] = false }; goto round
    :: fault(); goto again
    :: me == 0 && fallen -> reset_for_next_peer(); fallen = false; goto round
    :: timeout ->
        /* Nothing will ever happen again. */
        assert((got == wanted[1 - me] && sent == wanted[me]) || given_up[0] || given_up[1])
    fi;
failed:
end_failed:
    if
    :: fault(); goto again
    :: me == 0 && fallen -> fallen = false; goto failed
    fi
}

init {
    atomic {
        wanted[0] = ITEMS;
        if
        :: wanted[1] = ITEMS
        :: skip
        fi;
        run drain(0);
        run drain(1);
        run side(0);
        run side(1)
    }
}
