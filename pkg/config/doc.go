// Package config loads a program's configuration from layers, later ones
// winning: defaults, a TOML file, the environment, flags. README.md beside it is
// the guide for those who run Samsa.
//
// A Section is a struct that already holds its defaults. Its koanf tags name the
// keys; an about tag explains one in the help text; secret:"true" keeps a value
// out of logs and listings. Fields are strings, booleans, whole numbers,
// fractions, string lists, structs (a table) or embedded structs tagged
// ",squash". Durations and sizes are numbers whose key ends in the unit.
//
//	cfg := Default()
//	loaded, err := config.Load(config.Options{
//		Sections: []config.Section{{Name: "server", Value: &cfg.Server}},
//		Args:     os.Args[1:],
//		Environ:  os.Environ(),
//	})
//
// Load fills the structs and returns every problem at once: unknown keys, values
// of the wrong kind, and what the sections' own Validate finds.
package config
