package config

// Section is a table of the configuration that some program has. Several may
// share a name: each then knows some of the table's keys.
type Section struct {
	Name string
	// Value points to the struct that holds the defaults and gets the values. If
	// it has a method Validate() []Problem, Load calls it.
	Value any
}

// validator is a section that knows what is wrong with its values.
type validator interface {
	Validate() []Problem
}
