package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// leaf is one key of the known sections.
type leaf struct {
	key    string          // section.key
	fields []reflect.Value // where its value goes; several sections may want it
	secret bool
	about  string
	def    string // the default, as text
}

// leavesOf lists the keys of the sections in their order.
func leavesOf(sections []Section) []*leaf {
	var leaves []*leaf
	byKey := map[string]*leaf{}
	add := func(l *leaf) {
		if known := byKey[l.key]; known != nil {
			known.fields = append(known.fields, l.fields...)
			return
		}
		byKey[l.key] = l
		leaves = append(leaves, l)
	}
	for _, s := range sections {
		walk(s.Name, reflect.ValueOf(s.Value).Elem(), add)
	}
	return leaves
}

// walk visits the fields of a struct that have a koanf tag.
func walk(prefix string, v reflect.Value, visit func(*leaf)) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("koanf"), ",")
		switch {
		case options == "squash":
			walk(prefix, v.Field(i), visit)
		case name == "" || name == "-":
		case field.Type.Kind() == reflect.Struct:
			walk(prefix+"."+name, v.Field(i), visit)
		default:
			visit(newLeaf(prefix+"."+name, field, v.Field(i)))
		}
	}
}

func newLeaf(key string, field reflect.StructField, v reflect.Value) *leaf {
	return &leaf{
		key: key, fields: []reflect.Value{v}, about: field.Tag.Get("about"),
		secret: field.Tag.Get("secret") == "true" || soundsSecret(key), def: text(v),
	}
}

// soundsSecret is for structs that do not tag their secrets.
func soundsSecret(key string) bool {
	for _, ending := range []string{"password", "secret", "secret_access_key", "private_key"} {
		if strings.HasSuffix(key, ending) {
			return true
		}
	}
	return false
}

func (l *leaf) value() string { return text(l.fields[0]) }

func (l *leaf) isBool() bool { return l.fields[0].Kind() == reflect.Bool }

// show is a value as it may be logged.
func (l *leaf) show(value string) string {
	if l.secret {
		return redact(value)
	}
	return RedactURLs(value)
}

const redacted = "(secret)"

func redact(value string) string {
	if value == "" {
		return ""
	}
	return redacted
}

// RedactURLs hides what stands before the hosts of the URLs in a text: names,
// passwords and tokens. It rather hides too much of what is no proper URL.
func RedactURLs(text string) string {
	parts := strings.Split(text, "://")
	for i, part := range parts[1:] {
		if at := strings.LastIndexByte(part, '@'); at >= 0 {
			parts[i+1] = redacted + part[at:]
		}
	}
	return strings.Join(parts, "://")
}

// assign puts a raw value, from TOML or as text, into all of the leaf's fields.
func (l *leaf) assign(raw any) error {
	for _, f := range l.fields {
		if err := assign(f, raw); err != nil {
			return err
		}
	}
	return nil
}

func assign(f reflect.Value, raw any) error {
	switch f.Kind() {
	case reflect.String:
		return assignString(f, raw)
	case reflect.Bool:
		return assignBool(f, raw)
	case reflect.Slice:
		return assignList(f, raw)
	case reflect.Float32, reflect.Float64:
		return assignFloat(f, raw)
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return assignInt(f, raw)
	}
	panic(fmt.Sprintf("config: a field of type %s cannot be configured", f.Type()))
}

func assignString(f reflect.Value, raw any) error {
	s, ok := raw.(string)
	if !ok {
		return fmt.Errorf("want text in quotes")
	}
	f.SetString(s)
	return nil
}

func assignBool(f reflect.Value, raw any) error {
	switch v := raw.(type) {
	case bool:
		f.SetBool(v)
		return nil
	case string:
		if b, err := strconv.ParseBool(strings.TrimSpace(v)); err == nil {
			f.SetBool(b)
			return nil
		}
	}
	return fmt.Errorf("want true or false")
}

func assignInt(f reflect.Value, raw any) error {
	n, err := strconv.ParseInt(strings.TrimSpace(fmt.Sprint(raw)), 10, 64)
	if err != nil {
		return fmt.Errorf("want a whole number")
	}
	if f.CanInt() {
		if f.OverflowInt(n) {
			return fmt.Errorf("is too large")
		}
		f.SetInt(n)
		return nil
	}
	if n < 0 || f.OverflowUint(uint64(n)) {
		return fmt.Errorf("want a whole number of 0 or more, and not too large")
	}
	f.SetUint(uint64(n))
	return nil
}

func assignFloat(f reflect.Value, raw any) error {
	n, err := strconv.ParseFloat(strings.TrimSpace(fmt.Sprint(raw)), 64)
	if err != nil {
		return fmt.Errorf("want a number")
	}
	f.SetFloat(n)
	return nil
}

// assignList takes a TOML array of strings, or text with commas.
func assignList(f reflect.Value, raw any) error {
	var list []string
	switch v := raw.(type) {
	case string:
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
	case []any:
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return fmt.Errorf("want a list of texts in quotes")
			}
			list = append(list, s)
		}
	default:
		return fmt.Errorf("want a list of texts in quotes")
	}
	f.Set(reflect.ValueOf(list))
	return nil
}

// text is a value as TOML has it, without quotes.
func text(v reflect.Value) string {
	if list, ok := v.Interface().([]string); ok {
		return strings.Join(list, ",")
	}
	return fmt.Sprint(v.Interface())
}
