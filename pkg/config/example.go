package config

import "fmt"

// CheckExample compares an example file with the sections of a program: it must
// list each of their keys, with its default. It is for the tests that keep the
// examples true.
func CheckExample(path string, sections []Section) []Problem {
	file, err := loadFile(path)
	if err != nil {
		return []Problem{{Key: path, What: err.Error()}}
	}
	var problems []Problem
	for _, leaf := range leavesOf(sections) {
		if !file.values.Exists(leaf.key) {
			problems = append(problems, Problem{Key: leaf.key, Origin: path, What: "is missing", Remedy: "list it with its default, " + leaf.def})
			continue
		}
		raw := file.values.Get(leaf.key)
		if err := leaf.assign(raw); err != nil {
			problems = append(problems, Problem{Key: leaf.key, Value: fmt.Sprint(raw), Origin: file.origin(leaf.key), What: err.Error()})
			continue
		}
		if leaf.value() != leaf.def {
			problems = append(problems, Problem{
				Key: leaf.key, Value: leaf.value(), Origin: file.origin(leaf.key), What: "is not the default", Remedy: "write " + leaf.def,
			})
		}
	}
	return problems
}
