package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
	tomlv2 "github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// layer is one source of values.
type layer struct {
	values *koanf.Koanf
	// origin says where a key of the layer was set.
	origin func(key string) string
}

// loadFile reads a TOML file.
func loadFile(path string) (layer, error) {
	body, err := os.ReadFile(path) //nolint:gosec // named by whoever starts the program
	if err != nil {
		return layer{}, err
	}
	parsed, err := toml.Parser().Unmarshal(body)
	if err != nil {
		return layer{}, syntaxError(err)
	}
	values := koanf.New(".")
	if err := values.Load(confmap.Provider(parsed, ""), nil); err != nil {
		return layer{}, err
	}
	lines := linesOf(body)
	return layer{values: values, origin: func(key string) string {
		if line, ok := lines[key]; ok {
			return fmt.Sprintf("%s:%d", path, line)
		}
		return path
	}}, nil
}

func syntaxError(err error) error {
	var bad *tomlv2.DecodeError
	if errors.As(err, &bad) {
		line, column := bad.Position()
		return fmt.Errorf("line %d, column %d: %w", line, column, err)
	}
	return err
}

// linesOf finds the lines on which a TOML document sets its keys.
func linesOf(body []byte) map[string]int {
	lines := map[string]int{}
	var p unstable.Parser
	p.Reset(body)
	table := ""
	for p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table, _ = keyOf(&p, e)
		case unstable.KeyValue:
			key, line := keyOf(&p, e)
			lines[join(table, key)] = line
		}
	}
	return lines
}

func keyOf(p *unstable.Parser, e *unstable.Node) (key string, line int) {
	var parts []string
	for it := e.Key(); it.Next(); {
		parts = append(parts, string(it.Node().Data))
		if line == 0 {
			line = p.Shape(it.Node().Raw).Start.Line
		}
	}
	return strings.Join(parts, "."), line
}

func join(table, key string) string {
	if table == "" {
		return key
	}
	return table + "." + key
}

// loadEnv takes the variables that name maps to keys, in their order of rank:
// what comes later in the environ wins only within one rank.
func loadEnv(environ []string, name func(string) string) (layer, error) {
	from := map[string]string{}
	provider := env.Provider(".", env.Opt{
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(variable, value string) (string, any) {
			key := name(variable)
			if key == "" || injected(variable, value) {
				return "", nil
			}
			from[key] = variable
			return key, value
		},
	})
	values := koanf.New(".")
	if err := values.Load(provider, nil); err != nil {
		return layer{}, err
	}
	return layer{values: values, origin: func(key string) string { return "env " + from[key] }}, nil
}

// loadFlags takes the flags that were given.
func loadFlags(given map[string]any) (layer, error) {
	values := koanf.New(".")
	if err := values.Load(confmap.Provider(given, "."), nil); err != nil {
		return layer{}, err
	}
	return layer{values: values, origin: func(key string) string { return "flag --" + key }}, nil
}
