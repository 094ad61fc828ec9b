package history_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/samsa-io/samsa/tests/history"
)

// told is a history being told, one operation after the other unless overlapping.
type told struct {
	*history.History
	clock int64
}

func tell() *told { return &told{History: history.New("s")} }

func digest(name string) history.Digest { return history.DigestOf([]byte(name)) }

func digests(names string) (all []history.Digest) {
	for _, name := range names {
		all = append(all, digest(string(name)))
	}
	return all
}

// op adds an operation after all before.
func (h *told) op(o history.Op) {
	o.Call, o.Return = h.clock+1, h.clock+2
	h.clock += 2
	h.Add(&o)
}

func (h *told) appended(names string, at uint64) {
	h.op(history.Op{Kind: history.Append, Records: digests(names), Outcome: history.OK, Start: at, Next: at + uint64(len(names))})
}

func (h *told) unsure(names string) {
	h.op(history.Op{Kind: history.Append, Records: digests(names), Outcome: history.Unknown})
}

func (h *told) read(from, at uint64, names string) {
	h.op(history.Op{Kind: history.Read, From: from, Outcome: history.OK, Start: at, Next: at + uint64(len(names)), Got: digests(names)})
}

func (h *told) tail(next uint64) {
	h.op(history.Op{Kind: history.Tail, Outcome: history.OK, Next: next})
}

func (h *told) trimmed(to, at uint64) {
	h.op(history.Op{Kind: history.Trim, Records: []history.Digest{digest(fmt.Sprint("trim", to))}, SetTrim: &to, Outcome: history.OK, Start: at, Next: at + 1})
}

func (h *told) fenced(token string, at uint64) {
	h.op(history.Op{Kind: history.Fence, Records: digests("F"), SetToken: &token, Outcome: history.OK, Start: at, Next: at + 1})
}

func TestCheck_AcceptsWhatCanHappen(t *testing.T) {
	for name, happens := range map[string]func(h *told){
		"nothing": func(*told) {},
		"appends, reads and tails": func(h *told) {
			h.read(0, 0, "")
			h.appended("ab", 0)
			h.tail(2)
			h.read(0, 0, "ab")
			h.read(1, 1, "b")
		},
		"an unknown append that took effect": func(h *told) {
			h.unsure("a")
			h.appended("b", 1)
			h.read(0, 0, "ab")
		},
		"an unknown append that took effect late": func(h *told) {
			h.unsure("b")
			h.appended("a", 0)
			h.tail(1)
			h.appended("c", 2)
			h.read(0, 0, "abc")
		},
		"an unknown append that never did": func(h *told) {
			h.unsure("x")
			h.appended("a", 0)
			h.read(0, 0, "a")
		},
		"an unknown append that was trimmed before anybody saw it": func(h *told) {
			h.unsure("x")
			h.unsure("y")
			h.trimmed(1, 1)
			h.op(history.Op{Kind: history.Read, Outcome: history.OK, Start: 1, Next: 2, Got: []history.Digest{digest("trim1")}})
		},
		"a trim that hides": func(h *told) {
			h.appended("abc", 0)
			h.trimmed(2, 3)
			h.op(history.Op{Kind: history.Read, Outcome: history.OK, Start: 2, Next: 4, Got: []history.Digest{digest("c"), digest("trim2")}})
		},
		"a refusal that is right": func(h *told) {
			h.fenced("t", 0)
			h.op(history.Op{Kind: history.Append, Records: digests("a"), FencingToken: new("s"), Outcome: history.Mismatch, ActualToken: new("t")})
			h.op(history.Op{Kind: history.Append, Records: digests("b"), MatchSeqNum: new(uint64(0)), Outcome: history.Mismatch, ActualTail: new(uint64(1))})
			h.op(history.Op{Kind: history.Read, From: 2, Outcome: history.PastTail, ActualTail: new(uint64(1))})
		},
		"a read that is limited": func(h *told) {
			h.appended("abc", 0)
			h.op(history.Op{Kind: history.Read, Count: new(uint64(2)), Outcome: history.OK, Next: 2, Got: digests("ab")})
		},
		"a read that ends before what was trimmed meanwhile": func(h *told) {
			h.Add(&history.Op{Kind: history.Append, Records: digests("abc"), Call: 1, Return: 2, Outcome: history.OK, Next: 3})
			h.Add(&history.Op{Client: 1, Kind: history.Read, Call: 3, Return: 9, Outcome: history.OK, Next: 1, Got: digests("a")})
			h.Add(&history.Op{Kind: history.Trim, Records: digests("t"), SetTrim: new(uint64(2)), Call: 4, Return: 5, Outcome: history.OK, Start: 3, Next: 4})
		},
		"a concurrent read that misses": func(h *told) {
			h.Add(&history.Op{Kind: history.Append, Records: digests("a"), Call: 1, Return: 9, Outcome: history.OK, Next: 1})
			h.Add(&history.Op{Client: 1, Kind: history.Read, Call: 2, Return: 3, Outcome: history.OK})
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := tell()
			happens(h)
			v := h.Check(time.Minute)
			require.True(t, v.OK() && !v.Undecided, "%s", v)
		})
	}
}

// A checker that cannot fail proves nothing: each of these has to be found.
func TestCheck_FindsWhatMustNotHappen(t *testing.T) {
	for name, happens := range map[string]func(h *told){
		"stale read":         func(h *told) { h.appended("a", 0); h.read(0, 0, "") },
		"stale tail":         func(h *told) { h.appended("a", 0); h.tail(0) },
		"tail from nowhere":  func(h *told) { h.appended("a", 0); h.tail(2) },
		"lost append":        func(h *told) { h.appended("a", 0); h.appended("b", 1); h.read(0, 0, "b") },
		"overwritten append": func(h *told) { h.appended("a", 0); h.appended("b", 0); h.read(0, 0, "b") },
		"doubled append":     func(h *told) { h.appended("a", 0); h.appended("b", 2); h.read(0, 0, "aab") },
		"doubled unknown":    func(h *told) { h.unsure("a"); h.appended("b", 1); h.read(0, 0, "aba") },
		"half a batch":       func(h *told) { h.unsure("ab"); h.appended("c", 1); h.read(0, 0, "ac") },
		"swapped":            func(h *told) { h.appended("a", 0); h.appended("b", 1); h.read(0, 0, "ba") },
		"a failed append that took effect": func(h *told) {
			h.op(history.Op{Kind: history.Append, Records: digests("x"), Outcome: history.Failed})
			h.appended("a", 1)
			h.read(0, 0, "xa")
		},
		"a fence that was not heeded": func(h *told) {
			h.fenced("t", 0)
			h.op(history.Op{Kind: history.Append, Records: digests("a"), FencingToken: new("s"), Outcome: history.OK, Start: 1, Next: 2})
		},
		"a condition that did not hold": func(h *told) {
			h.appended("a", 0)
			h.op(history.Op{Kind: history.Append, Records: digests("b"), MatchSeqNum: new(uint64(0)), Outcome: history.OK, Start: 1, Next: 2})
		},
		"a refusal from the past": func(h *told) {
			h.appended("a", 0)
			h.op(history.Op{Kind: history.Append, Records: digests("b"), MatchSeqNum: new(uint64(1)), Outcome: history.Mismatch, ActualTail: new(uint64(0))})
		},
		"a refusal by an old token": func(h *told) {
			h.fenced("s", 0)
			h.op(history.Op{Kind: history.Fence, Records: digests("G"), SetToken: new("t"), Outcome: history.OK, Start: 1, Next: 2})
			h.op(history.Op{Kind: history.Append, Records: digests("b"), FencingToken: new("t"), Outcome: history.Mismatch, ActualToken: new("s")})
		},
		"past a tail that is no more": func(h *told) {
			h.appended("abc", 0)
			h.op(history.Op{Kind: history.Read, From: 2, Outcome: history.PastTail, ActualTail: new(uint64(1))})
		},
		"a read that ends early":    func(h *told) { h.appended("abc", 0); h.read(0, 0, "ab") },
		"trimmed records come back": func(h *told) { h.appended("abc", 0); h.trimmed(2, 3); h.read(1, 1, "bc") },
		"more is gone than was trimmed": func(h *told) {
			h.appended("abc", 0)
			h.trimmed(1, 3)
			h.op(history.Op{Kind: history.Read, Outcome: history.OK, Start: 2, Next: 4, Got: []history.Digest{digest("c"), digest("trim1")}})
		},
		"an empty read of what is there": func(h *told) {
			h.appended("a", 0)
			h.op(history.Op{Kind: history.Read, Outcome: history.OK, Start: 1, Next: 1})
		},
		"a read that goes back": func(h *told) {
			h.unsure("a")
			h.read(0, 0, "a")
			h.read(0, 0, "")
		},
		"one place, two records": func(h *told) {
			h.See(3, history.Sighting{ID: "x"})
			h.See(3, history.Sighting{ID: "y"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := tell()
			happens(h)
			require.False(t, h.Check(time.Minute).OK())
		})
	}
}

// Outages leave many appends unknown; they must not make the search explode.
func TestCheck_IsQuickWithManyUnknownAppends(t *testing.T) {
	h := tell()
	place, all := uint64(0), []history.Digest{}
	for i := range 400 {
		name := fmt.Sprint(i)
		if i%4 == 0 {
			h.op(history.Op{Kind: history.Append, Records: []history.Digest{digest(name)}, Outcome: history.Unknown})
			if i%8 == 0 {
				continue // it never took effect
			}
		} else {
			h.op(history.Op{Kind: history.Append, Records: []history.Digest{digest(name)}, Outcome: history.OK, Start: place, Next: place + 1})
		}
		place++
		all = append(all, digest(name))
	}
	h.op(history.Op{Kind: history.Read, Outcome: history.OK, Next: place, Got: all})
	v := h.Check(time.Minute)
	require.True(t, v.OK() && !v.Undecided, "%s", v)
	require.Equal(t, 100, v.Unknown)
}

func TestSave_WritesWhatCanBeCheckedAgain(t *testing.T) {
	h := tell()
	h.appended("a", 0)
	h.read(0, 0, "")
	folder := t.TempDir()
	path, err := h.Save(folder, h.Check(time.Minute))
	require.NoError(t, err)
	again, err := history.Load(path)
	require.NoError(t, err)
	require.Equal(t, h.Ops(), again.Ops())
	require.False(t, again.Check(time.Minute).OK())
	picture, err := os.ReadFile(filepath.Join(folder, "s.html"))
	require.NoError(t, err)
	require.Contains(t, string(picture), "append ok of 1")
}
