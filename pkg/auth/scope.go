package auth

import (
	"strings"

	samsav1 "github.com/samsa-io/samsa/gen/samsa/v1"
	"github.com/samsa-io/samsa/pkg/catalog"
)

// names is a set of names; the zero value is empty.
type names struct {
	kind setKind
	text string
}

type setKind uint8

const (
	noNames setKind = iota
	oneName
	allWithPrefix
)

// namesOf reads a set as the API has it. An exact name that is empty is nobody's.
func namesOf(set *samsav1.ResourceSet) names {
	switch m := set.GetMatching().(type) {
	case *samsav1.ResourceSet_Exact:
		if m.Exact != "" {
			return names{oneName, m.Exact}
		}
	case *samsav1.ResourceSet_Prefix:
		return names{allWithPrefix, m.Prefix}
	}
	return names{}
}

func everything() names { return names{kind: allWithPrefix} }

func (n names) has(name string) bool {
	switch n.kind {
	case oneName:
		return name == n.text
	case allWithPrefix:
		return strings.HasPrefix(name, n.text)
	}
	return false
}

// within tells whether every name of n is in other.
func (n names) within(other names) bool {
	switch n.kind {
	case noNames:
		return true
	case oneName:
		return other.has(n.text)
	}
	return other.kind == allWithPrefix && strings.HasPrefix(n.text, other.text)
}

// narrow is the part of a page whose names are in n; false: none are.
func (n names) narrow(page catalog.Page) (catalog.Page, bool) {
	switch {
	case n.kind == noNames:
		return page, false
	case n.kind == oneName:
		page.Only = &n.text
		return page, strings.HasPrefix(n.text, page.Prefix)
	case strings.HasPrefix(page.Prefix, n.text):
		return page, true
	}
	within := strings.HasPrefix(n.text, page.Prefix)
	page.Prefix = n.text
	return page, within
}

// operations is a set of operations, a bit for each number.
type operations uint64

// operationsOf leaves out what this version does not know, which grants nothing.
func operationsOf(ops []samsav1.Operation) (set operations) {
	for _, op := range ops {
		if _, known := samsav1.Operation_name[int32(op)]; known && op != samsav1.Operation_OPERATION_UNSPECIFIED {
			set |= bit(op)
		}
	}
	return set
}

// bit is 0 for numbers that have none: they are in no set.
func bit(op samsav1.Operation) operations {
	if op <= 0 || op > 63 {
		return 0
	}
	return 1 << op
}

func (o operations) has(op samsav1.Operation) bool { return o&bit(op) != 0 }

func (o operations) within(other operations) bool { return o&^other == 0 }
