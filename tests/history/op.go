package history

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Digest stands for a record's headers and body.
type Digest [16]byte

// DigestOf hashes the parts of a record, with their lengths.
func DigestOf(parts ...[]byte) Digest {
	h := sha256.New()
	for _, part := range parts {
		_ = binary.Write(h, binary.BigEndian, uint64(len(part)))
		h.Write(part)
	}
	return Digest(h.Sum(nil))
}

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(d[:])), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err == nil && len(b) != len(d) {
		err = fmt.Errorf("digest %q has %d bytes, not %d", text, len(b), len(d))
	}
	if err == nil {
		*d = Digest(b)
	}
	return err
}

// Kind is what a client asked for.
type Kind string

// The kinds. Fence and Trim are appends of a command record.
const (
	Append Kind = "append"
	Fence  Kind = "fence"
	Trim   Kind = "trim"
	Read   Kind = "read"
	Tail   Kind = "tail"
)

// Outcome is what a client was told.
type Outcome string

// The outcomes.
const (
	OK       Outcome = "ok"
	Failed   Outcome = "failed"    // certainly without effect, and saying nothing about the stream
	Unknown  Outcome = "unknown"   // maybe with effect
	Mismatch Outcome = "mismatch"  // a condition did not hold: ActualToken or ActualTail tells which
	PastTail Outcome = "past tail" // a read from behind ActualTail
)

// Op is one operation on a stream.
type Op struct {
	Client       int
	Kind         Kind
	Call, Return int64 // nanoseconds

	// Of appends.
	Records      []Digest `json:",omitempty"`
	MatchSeqNum  *uint64  `json:",omitempty"`
	FencingToken *string  `json:",omitempty"`
	SetToken     *string  `json:",omitempty"` // of Fence
	SetTrim      *uint64  `json:",omitempty"` // of Trim
	Producer     string   `json:",omitempty"`

	// Of reads: where to begin, and how many records at most.
	From  uint64  `json:",omitempty"`
	Count *uint64 `json:",omitempty"`

	Outcome Outcome
	// Start is the first record's position, Next the one behind the last. A read
	// that gave nothing has Start == Next; of Tail, Next is the tail.
	Start, Next uint64
	Got         []Digest `json:",omitempty"` // what a read gave
	ActualToken *string  `json:",omitempty"`
	ActualTail  *uint64  `json:",omitempty"`
	Error       string   `json:",omitempty"`
}

func (o *Op) appends() bool { return o.Kind == Append || o.Kind == Fence || o.Kind == Trim }

// short tells that a read ended for no other reason than that it was at the tail.
func (o *Op) short() bool { return o.Count == nil || o.Next-o.Start < *o.Count }

func (o *Op) String() string {
	s := fmt.Sprintf("%s %s", o.Kind, o.Outcome)
	switch {
	case o.appends():
		s = fmt.Sprintf("%s of %d", s, len(o.Records))
	case o.Kind == Read:
		s = fmt.Sprintf("%s from %d", s, o.From)
	}
	if o.SetToken != nil {
		s += fmt.Sprintf(" set token %q", *o.SetToken)
	}
	if o.SetTrim != nil {
		s += fmt.Sprintf(" trim to %d", *o.SetTrim)
	}
	if o.MatchSeqNum != nil {
		s += fmt.Sprintf(" if tail is %d", *o.MatchSeqNum)
	}
	if o.FencingToken != nil {
		s += fmt.Sprintf(" if token is %q", *o.FencingToken)
	}
	if o.Outcome == OK {
		s += fmt.Sprintf(": [%d, %d)", o.Start, o.Next)
	}
	if o.ActualTail != nil {
		s += fmt.Sprintf(": tail is %d", *o.ActualTail)
	}
	if o.ActualToken != nil {
		s += fmt.Sprintf(": token is %q", *o.ActualToken)
	}
	return s
}
