/*
 * The memory of two protection domains (PDs), each on a core of its own.
 *
 * A PD's stores go through a store buffer and reach the memory later; its loads do not wait for them. A store
 * with release order stays behind all earlier stores of its PD, any other one may overtake those to other words.
 * That is weaker than x86 (where stores stay in order) and as weak as Rust's Release stores and Acquire loads
 * between two threads. A sequentially consistent fence waits until the buffer is empty.
 *
 * A PD writes no word that its peer writes, and never loads its own words, so a load needs no look into the
 * loader's own buffer.
 */

/* Stores that may be under way; a PD that has so many waits. */
#define DEPTH 3

typedef Buffer {
    byte count;
    byte word[DEPTH];
    byte value[DEPTH];
    bool release[DEPTH]
}

byte memory[WORDS];
Buffer buffer[2];

/* Where a PD's block of words begins. */
#define own(offset) (me * BLOCK + (offset))
#define peers(offset) ((1 - me) * BLOCK + (offset))

inline store(where, what, ordered) {
    d_step {
        buffer[me].count < DEPTH;
        buffer[me].word[buffer[me].count] = where;
        buffer[me].value[buffer[me].count] = what;
        buffer[me].release[buffer[me].count] = ordered;
        buffer[me].count++
    }
}

/* Rust: store(…, Relaxed). */
#define set(offset, what) store(own(offset), what, false)

/* Rust: store(…, Release). */
#define publish(offset, what) store(own(offset), what, true)

/* Rust: load(Acquire). */
#define load(offset) (memory[peers(offset)])

/* Rust: fence(SeqCst). */
#define fence() (buffer[me].count == 0)

/* Whether the store in this place may reach the memory now. */
#define first(i) (i < buffer[me].count && (i == 0 || !buffer[me].release[i]))
#define behind(i, j) (buffer[me].word[i] != buffer[me].word[j])

inline reach(place) {
    d_step {
        memory[buffer[me].word[place]] = buffer[me].value[place];
        buffer[me].count--;
        i = place;
        do
        :: i < buffer[me].count ->
            buffer[me].word[i] = buffer[me].word[i + 1];
            buffer[me].value[i] = buffer[me].value[i + 1];
            buffer[me].release[i] = buffer[me].release[i + 1];
            i++
        :: else -> break
        od;
        /* What is left behind makes no further states. */
        buffer[me].word[i] = 0;
        buffer[me].value[i] = 0;
        buffer[me].release[i] = false;
        i = 0
    }
}

/* Lets a PD's stores reach the memory, one at some time. */
proctype drain(byte me) {
    byte i;
end:
    do
    :: first(0) -> reach(0)
    :: first(1) && behind(1, 0) -> reach(1)
    :: first(2) && behind(2, 0) && behind(2, 1) -> reach(2)

    od
}

/* Whether stores of this PD to the word are under way. */
#define under_way_at(pd, i, where) (i < buffer[pd].count && buffer[pd].word[i] == where)
#define under_way(pd, where) (under_way_at(pd, 0, where) || under_way_at(pd, 1, where) || under_way_at(pd, 2, where))
