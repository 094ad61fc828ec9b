package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

const fileFlag = "config"

// AddFlags defines --config and a --section.key for every key of the sections,
// for programs that parse their flags themselves.
func AddFlags(flags *pflag.FlagSet, sections []Section) { addFlags(flags, leavesOf(sections)) }

func addFlags(flags *pflag.FlagSet, leaves []*leaf) {
	flags.String(fileFlag, "", "TOML `file` to read; also "+FileVariable)
	for _, l := range leaves {
		flags.Var(&flagValue{leaf: l}, l.key, l.about)
		if l.isBool() {
			flags.Lookup(l.key).NoOptDefVal = "true"
		}
	}
}

// flagValue keeps a flag's text; it is looked at with all other values.
type flagValue struct {
	leaf  *leaf
	given string
	set   bool
}

func (v *flagValue) String() string {
	switch {
	case v.leaf == nil: // pflag asks a zero value for its default
		return ""
	case v.set:
		return v.given
	}
	return v.leaf.show(v.leaf.def)
}

func (v *flagValue) Set(s string) error {
	v.given, v.set = s, true
	return nil
}

func (v *flagValue) Type() string {
	if v.leaf.isBool() {
		return "bool"
	}
	return "value"
}

// givenFlags is what the command line says.
type givenFlags struct {
	file   string
	values map[string]any
}

// flags parses the command line, or takes the flags that were parsed before.
func (l *loader) flags() (*pflag.FlagSet, givenFlags, error) {
	flags := l.options.Flags
	if flags == nil {
		flags = pflag.NewFlagSet(l.options.Program, pflag.ContinueOnError)
		flags.SortFlags = false
		flags.Usage = func() {}
		addFlags(flags, l.leaves)
		if err := l.parse(flags); err != nil {
			return flags, givenFlags{}, err
		}
	}
	return flags, collect(flags), nil
}

func (l *loader) parse(flags *pflag.FlagSet) error {
	err := flags.Parse(l.options.Args)
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	var missing *pflag.NotExistError
	switch {
	case errors.As(err, &missing):
		name := missing.GetSpecifiedName()
		l.report(Problem{Key: "--" + name, What: "no such flag", Remedy: suggest(name, l.known(), "--help lists all")})
	case err != nil:
		l.report(Problem{Key: "flags", What: err.Error(), Remedy: "--help lists all"})
	}
	if n := flags.NArg(); n > 0 { // such as a secret after a space too many
		l.report(Problem{Key: "flags", What: count(n, "word") + " too many", Remedy: "give --section.key=value"})
	}
	return nil
}

func (l *loader) known() []string {
	names := []string{fileFlag}
	for _, leaf := range l.leaves {
		names = append(names, leaf.key)
	}
	return names
}

func collect(flags *pflag.FlagSet) givenFlags {
	given := givenFlags{values: map[string]any{}}
	flags.Visit(func(f *pflag.Flag) {
		if v, ours := f.Value.(*flagValue); ours {
			given.values[f.Name] = v.given
		}
		if f.Name == fileFlag {
			given.file = f.Value.String()
		}
	})
	return given
}

func usage(program string, flags *pflag.FlagSet) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s [--config FILE] [--section.key VALUE]...\n\n", program)
	b.WriteString("Each key can also stand in the TOML file, or in the environment as SAMSA_<SECTION>_<KEY>.\n\n")
	b.WriteString(flags.FlagUsages())
	return b.String()
}
