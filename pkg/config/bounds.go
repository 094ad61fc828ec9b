package config

import "strconv"

// Floor is the least that a number may be.
type Floor struct {
	Key   string // within its section
	Value int64
	Least int64
}

// BelowFloor reports the numbers of a section that are less than they may be.
func BelowFloor(section string, floors ...Floor) []Problem {
	var problems []Problem
	for _, f := range floors {
		if f.Value >= f.Least {
			continue
		}
		least := strconv.FormatInt(f.Least, 10)
		problems = append(problems, Problem{
			Key: section + "." + f.Key, Value: strconv.FormatInt(f.Value, 10), What: "is less than " + least,
			Remedy: "give a number from " + least + " up, or leave it out",
		})
	}
	return problems
}

// Range is what a number must lie within.
type Range struct {
	Key         string // within its section
	Value       int64
	Least, Most int64
}

// OutOfRange reports the numbers of a section that lie outside of their ranges.
func OutOfRange(section string, ranges ...Range) []Problem {
	var problems []Problem
	for _, r := range ranges {
		if r.Value >= r.Least && r.Value <= r.Most {
			continue
		}
		problems = append(problems, Problem{
			Key: section + "." + r.Key, Value: strconv.FormatInt(r.Value, 10), What: "is out of range",
			Remedy: "give " + strconv.FormatInt(r.Least, 10) + " to " + strconv.FormatInt(r.Most, 10) + ", or leave it out",
		})
	}
	return problems
}
