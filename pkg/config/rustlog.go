package config

import "strings"

// rustLogVariable is how the prototype's levels are set, beside LOG_LEVEL.
const rustLogVariable = "RUST_LOG"

// rustLog gives the environ's RUST_LOG the form of LOG_LEVEL; nil if it says nothing
// about Samsa. It never is a mistake: many programs share the variable.
func rustLog(environ []string) []string {
	var levels []string
	for directive := range strings.SplitSeq(lookup(environ, rustLogVariable), ",") {
		if level := rustLogLevel(strings.TrimSpace(directive)); level != "" {
			levels = append(levels, level)
		}
	}
	if levels == nil {
		return nil
	}
	return []string{rustLogVariable + "=" + strings.Join(levels, ",")}
}

// rustLogLevel reads "debug", "samsa=debug", "samsa", which stands for all that there
// is, or "samsa::writer=debug". "" if it is none of these.
func rustLogLevel(directive string) string {
	target, name, named := strings.Cut(directive, "=")
	switch {
	case !named && target != "samsa" && !strings.HasPrefix(target, "samsa::"):
		target, name = "samsa", directive
	case !named:
		name = "trace"
	}
	level := map[string]string{
		"trace": "debug", "debug": "debug", "info": "info", "warn": "warn", "error": "error", "off": "error",
	}[strings.ToLower(name)]
	module, isModule := strings.CutPrefix(target, "samsa::")
	switch {
	case level == "":
		return ""
	case target == "samsa":
		return level
	case isModule && module != "":
		return strings.ReplaceAll(module, "::", ".") + "=" + level
	}
	return ""
}
