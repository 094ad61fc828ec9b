package config

import (
	"fmt"
	"strings"
)

// Problem is one thing wrong with a configuration: the key, its value, where the
// value came from, what is wrong with it and what to do.
type Problem struct {
	Key    string
	Value  string // as given; empty if it says nothing, or is or may be a secret
	Origin string // such as "env SERVER_PORT"; filled in by Load
	What   string // what is wrong
	Remedy string // what to do about it
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Key)
	if p.Value != "" {
		fmt.Fprintf(&b, " = %q", p.Value)
	}
	if p.Origin != "" {
		fmt.Fprintf(&b, " (%s)", p.Origin)
	}
	fmt.Fprintf(&b, ": %s", p.What)
	if p.Remedy != "" {
		fmt.Fprintf(&b, "; %s", p.Remedy)
	}
	return b.String()
}

// Problems is the error that Load returns: all of them at once.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, 0, len(p)+1)
	lines = append(lines, fmt.Sprintf("configuration: %s", count(len(p), "problem")))
	for _, problem := range p {
		lines = append(lines, "  "+problem.String())
	}
	return strings.Join(lines, "\n")
}

// OrNil is p as an error, nil if there is no problem.
func (p Problems) OrNil() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
