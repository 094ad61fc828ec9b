package config

import "cmp"

// Value is one key of a loaded configuration.
type Value struct {
	Key     string
	Value   string // secrets are hidden
	Default string
	Origin  string // "default", "file:line", "env NAME" or "flag --name"
	About   string
	Secret  bool
}

// File is the file that was read, "" if none.
func (l *Loaded) File() string { return l.file }

// Usage is the help text.
func (l *Loaded) Usage() string { return l.usage }

// Values lists every key with its value and where that came from.
func (l *Loaded) Values() []Value {
	values := make([]Value, 0, len(l.leaves))
	for _, leaf := range l.leaves {
		values = append(values, Value{
			Key: leaf.key, Value: leaf.show(leaf.value()), Default: leaf.show(leaf.def),
			Origin: cmp.Or(l.origins[leaf.key], "default"), About: leaf.about, Secret: leaf.secret,
		})
	}
	return values
}

// Changed lists the keys whose values are not the defaults.
func (l *Loaded) Changed() []Value {
	var changed []Value
	for i, v := range l.Values() {
		if l.leaves[i].value() != l.leaves[i].def {
			changed = append(changed, v)
		}
	}
	return changed
}
