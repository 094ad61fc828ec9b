package config

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// DefaultFiles are looked for, in this order, when nobody names a file.
func DefaultFiles() []string { return []string{"config/app.toml", "/etc/samsa/app.toml"} }

// Options say where values may come from.
type Options struct {
	Program  string    // for the help text
	Sections []Section // what the program knows; Load fills their values
	// Foreign are sections ("router") and keys ("storage.x") of other programs:
	// a file may have them, and nobody looks at their values.
	Foreign []string
	Args    []string // without the program's name
	// Flags, if set, were parsed before, by way of AddFlags; Args are not looked at.
	Flags   *pflag.FlagSet
	Environ []string
	// File is read if neither flag nor variable names one.
	File string
	// DefaultFiles: nil stands for DefaultFiles().
	DefaultFiles []string
}

// Loaded is a configuration and where it came from.
type Loaded struct {
	file    string
	leaves  []*leaf
	origins map[string]string
	usage   string
}

// Load fills the sections' structs. Its error is Problems, or pflag.ErrHelp if
// help was asked for; Loaded is of use in both cases.
func Load(o Options) (*Loaded, error) {
	l := &loader{options: o, leaves: leavesOf(o.Sections), origins: map[string]string{}, merged: koanf.New(".")}
	flags, given, err := l.flags()
	l.loaded = &Loaded{leaves: l.leaves, origins: l.origins, usage: usage(o.Program, flags)}
	if err != nil {
		return l.loaded, err
	}
	l.file(given)
	l.environment()
	l.add(loadFlags(given.values))
	l.unknown()
	l.assign()
	l.validate()
	return l.loaded, l.problems.OrNil()
}

type loader struct {
	options  Options
	leaves   []*leaf
	merged   *koanf.Koanf
	origins  map[string]string // of each key that a layer set
	problems Problems
	loaded   *Loaded
}

func (l *loader) report(p Problem) { l.problems = append(l.problems, p) }

// add puts a layer over those before it.
func (l *loader) add(next layer, err error) {
	if err == nil {
		err = l.merged.Merge(next.values)
	}
	if err != nil {
		l.report(Problem{Key: "configuration", What: err.Error()})
		return
	}
	for _, key := range next.values.Keys() {
		l.origins[key] = next.origin(key)
	}
}

// file adds the file's layer, if there is a file.
func (l *loader) file(given givenFlags) {
	path, origin := l.path(given)
	if path == "" {
		return
	}
	next, err := loadFile(path)
	if err != nil {
		l.report(Problem{Key: "config", Value: path, Origin: origin, What: err.Error(), Remedy: "name a TOML file that can be read, such as a copy of deploy/config/example.toml"})
		return
	}
	l.loaded.file = path
	l.add(next, nil)
}

func (l *loader) path(given givenFlags) (path, origin string) {
	if given.file != "" {
		return given.file, "flag --config"
	}
	if value := lookup(l.options.Environ, FileVariable); value != "" {
		return value, "env " + FileVariable
	}
	if l.options.File != "" {
		return l.options.File, ""
	}
	files := l.options.DefaultFiles
	if files == nil {
		files = DefaultFiles()
	}
	for _, f := range files {
		if _, err := os.Stat(f); err == nil {
			return f, ""
		}
	}
	return "", ""
}

func lookup(environ []string, name string) string {
	value := ""
	for _, variable := range environ {
		if n, v, _ := strings.Cut(variable, "="); n == name {
			value = v
		}
	}
	return value
}

// environment adds the prototype's names, without those that are empty, and then
// the canonical ones.
func (l *loader) environment() {
	n := namesOf(l.leaves)
	set := slices.DeleteFunc(slices.Clone(l.options.Environ), func(v string) bool { return strings.HasSuffix(v, "=") })
	l.add(loadEnv(rustLog(set), func(string) string { return n.prototype["LOG_LEVEL"] }))
	l.add(loadEnv(set, func(v string) string { return n.prototype[v] }))
	l.add(loadEnv(l.options.Environ, func(v string) string { return n.canonical[v] }))
	l.unknownVariables(n)
}

// unknownVariables reports what looks like one of ours and is not: a typing error
// would otherwise go unseen.
func (l *loader) unknownVariables(n names) {
	var known []string
	for v := range n.canonical {
		known = append(known, v)
	}
	slices.Sort(known)
	for _, variable := range l.options.Environ {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, envPrefix) || n.canonical[name] != "" || l.tolerated(name, value) {
			continue
		}
		// The value is not shown: with one letter wrong in the name a secret would be.
		l.report(Problem{Key: name, Origin: "env", What: "no such key", Remedy: suggest(name, known, "unset it")})
	}
}

func (l *loader) tolerated(name, value string) bool {
	if slices.Contains(ownVariables(), name) || strings.HasPrefix(name, "SAMSA_TEST_") || injected(name, value) {
		return true
	}
	return slices.ContainsFunc(l.options.Foreign, func(foreign string) bool {
		v := Variable(foreign)
		return name == v || strings.HasPrefix(name, v+"_")
	})
}

func suggest(name string, known []string, otherwise string) string {
	if like := nearest(name, known); like != "" {
		return "did you mean " + like + "?"
	}
	return otherwise
}

// unknown reports keys, mostly of the file, that nobody has. Their values may be
// secrets, too.
func (l *loader) unknown() {
	var known []string
	for _, leaf := range l.leaves {
		known = append(known, leaf.key)
	}
	for _, key := range l.merged.Keys() {
		if slices.Contains(known, key) || l.foreign(key) || l.emptyTable(key, known) {
			continue
		}
		l.report(Problem{Key: key, Origin: l.origins[key], What: l.whatIsUnknown(key), Remedy: suggest(key, known, "remove it")})
	}
}

func (l *loader) foreign(key string) bool {
	return slices.ContainsFunc(l.options.Foreign, func(foreign string) bool {
		return key == foreign || strings.HasPrefix(key, foreign+".")
	})
}

// emptyTable is a table of ours without a key in it.
func (l *loader) emptyTable(key string, known []string) bool {
	table, ok := l.merged.Get(key).(map[string]any)
	return ok && len(table) == 0 && slices.ContainsFunc(known, func(k string) bool { return strings.HasPrefix(k, key+".") })
}

func (l *loader) whatIsUnknown(key string) string {
	section, _, isKey := strings.Cut(key, ".")
	for _, s := range l.options.Sections {
		if s.Name == section && isKey {
			return "no such key"
		}
	}
	return fmt.Sprintf("no such section as [%s]", section)
}

// assign puts the merged values into the sections.
func (l *loader) assign() {
	for _, leaf := range l.leaves {
		if !l.merged.Exists(leaf.key) {
			continue
		}
		raw := l.merged.Get(leaf.key)
		if err := leaf.assign(raw); err != nil {
			l.report(Problem{Key: leaf.key, Value: leaf.show(fmt.Sprint(raw)), Origin: l.origins[leaf.key], What: err.Error()})
		}
	}
}

// validate asks every section and adds to its problems what it does not know.
func (l *loader) validate() {
	for _, s := range l.options.Sections {
		v, ok := s.Value.(validator)
		if !ok {
			continue
		}
		for _, p := range v.Validate() {
			l.report(l.complete(p))
		}
	}
}

func (l *loader) complete(p Problem) Problem {
	p.Origin, p.What = cmp.Or(p.Origin, l.origins[p.Key]), RedactURLs(p.What)
	for _, leaf := range l.leaves {
		if leaf.key == p.Key {
			p.Value = leaf.show(cmp.Or(p.Value, leaf.value()))
		}
	}
	return p
}
