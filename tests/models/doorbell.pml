/*
 * The sleep flags of both sides and their notifications: components/channel/src/doorbell.rs.
 *
 * The flag is word FLAG of a side's block: bit 0 says that it is awake, the next one that a further kind of news
 * (RETURNED) wakes it, and the rest is the number of the sleep. Mutants (-D):
 *   FLAG_NOT_RESET       a side that wakes does not say so
 *   SLEEPS_NOT_COUNTED   all sleeps look alike
 *   RINGS_ALWAYS         every news rings while the peer sleeps
 *   NO_SLEEPER_FENCE     the second look may come before the flag
 *   NO_PUBLISHER_FENCE   the look at the flag may come before the news
 *   BEGINS_AWAKE         memory is set up as if both sides were awake
 *   NO_RECHECK           no second look (sleep.pml and ready.pml)
 */

#define FLAG 0

#define AWAKE 1
#define RETURNED 2
#define SLEEP 4
#define ALWAYS 1

/* A system that comes to rest does so long before. */
#define MOST_SLEEPS 40

/* No flag: a side that has not rung yet. */
#define NONE 255

/* A PD's notification object: notifications coalesce. */
bool notification[2];

/* What a property speaks of: whether a side has said that it is awake. */
bool up[2];

/* A side's private word, and the peer's word when it was notified last. */
#define doorbell byte state, flag; byte rung = NONE; bool call

inline begin() {
#ifdef BEGINS_AWAKE
    state = AWAKE;
    memory[own(FLAG)] = AWAKE;
    up[me] = true
#else
    skip
#endif
}

inline wake() {
    if
    :: !(state & AWAKE) ->
        state = (state & ~RETURNED) | AWAKE;
        atomic {
#ifndef FLAG_NOT_RESET
            set(FLAG, state);
#endif
            up[me] = true
        }
    :: else
    fi
}

inline lie_down(kinds) {
    state = (state & ~(AWAKE | RETURNED)) | (kinds);
#ifndef SLEEPS_NOT_COUNTED
    state = state + SLEEP;
#endif
    /* Rounds without end are an error too. */
    assert(state / SLEEP < MOST_SLEEPS);
    atomic {
        publish(FLAG, state);
        up[me] = false
    }
#ifndef NO_SLEEPER_FENCE
    fence();
#endif
}

inline ring(kinds) {
#ifndef NO_PUBLISHER_FENCE
    fence();
#endif
    atomic {
        flag = load(FLAG);
        call = !(flag & AWAKE) && ((kinds) & (ALWAYS | flag));
#ifndef RINGS_ALWAYS
        call = call && flag != rung;
#endif
        if
        :: call ->
            /* A peer is notified once a sleep, and not when all memory says that it is awake. */
            assert(flag != rung);
            assert(!up[1 - me] || under_way(1 - me, peers(FLAG)));
            rung = flag
        :: else
        fi;
        flag = 0
    }
    if
    :: call -> notification[1 - me] = true; call = false
    :: else
    fi
}

/* Back at the receive point. */
inline await() {
    atomic { notification[me] -> notification[me] = false }
}
