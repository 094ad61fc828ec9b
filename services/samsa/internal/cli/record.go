package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/samsa-io/samsa/pkg/client"
)

// A record as JSON: seq_num, seq_id, timestamp, headers and body. Bytes that are
// not UTF-8 stand in a field of the same name with _base64 behind it.

// appendJSON appends a record as an object and a newline.
func appendJSON(dst []byte, r client.Record) []byte {
	dst = append(dst, `{"seq_num":`...)
	dst = strconv.AppendUint(dst, r.SeqNum, 10)
	dst = append(dst, `,"seq_id":"`...)
	dst = r.SeqID.AppendText(dst)
	dst = append(dst, `","timestamp":`...)
	dst = strconv.AppendUint(dst, r.Timestamp, 10)
	if len(r.Headers) > 0 {
		dst = append(dst, `,"headers":[`...)
		for i, h := range r.Headers {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendBytesField(append(dst, '{'), "name", h.Name)
			dst = append(appendBytesField(append(dst, ','), "value", h.Value), '}')
		}
		dst = append(dst, ']')
	}
	dst = appendBytesField(append(dst, ','), "body", r.Body)
	return append(dst, "}\n"...)
}

func appendBytesField(dst []byte, name string, b []byte) []byte {
	dst = append(append(dst, '"'), name...)
	if !utf8.Valid(b) {
		dst = append(dst, `_base64":"`...)
		return append(base64.StdEncoding.AppendEncode(dst, b), '"')
	}
	return appendQuoted(append(dst, `":`...), b)
}

// appendQuoted appends valid UTF-8 as a JSON string.
func appendQuoted(dst, b []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	plain := 0
	for i, c := range b {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, b[plain:i]...)
		plain = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
	}
	return append(append(dst, b[plain:]...), '"')
}

// parseRecord reads a line of `append --format json`. What it does not say is the
// template's. What the server gives is ignored, so that the output of `read` can go in
// again. Whatever encoding/json would let pass or mend is refused, as REST does: what is
// stored must be what was written.
func parseRecord(line []byte, template client.AppendRecord) (client.AppendRecord, error) {
	in := recordInput{decoder: json.NewDecoder(bytes.NewReader(line)), record: template}
	in.record.Headers = slices.Clip(template.Headers) // shared by all lines
	err := in.read()
	switch {
	case err != nil:
		return template, fmt.Errorf("%w: want a JSON object with body, headers, timestamp: %w", errLine, err)
	case !utf8.Valid(line):
		return template, fmt.Errorf("%w: it is not UTF-8; bytes that are not go into body_base64, name_base64 and value_base64", errLine)
	case hasLoneSurrogate(line):
		return template, fmt.Errorf(`%w: it has half of a surrogate pair as \u escape, which stands for no character`, errLine)
	}
	return in.record, nil
}

// recordInput is a line on its way to a record.
type recordInput struct {
	decoder *json.Decoder
	record  client.AppendRecord
}

func (in *recordInput) read() error {
	body := bytesInput{name: "body"}
	err := in.object(func(field string) error {
		switch field {
		case "seq_num", "seq_id":
			return in.decoder.Decode(new(json.RawMessage))
		case "timestamp":
			return in.timestamp()
		case "headers":
			return in.headers()
		}
		return body.read(in.decoder, field)
	})
	in.record.Body = body.bytes
	if err != nil {
		return err
	}
	if _, err := in.decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something stands behind the object")
	}
	return nil
}

// timestamp leaves the template's in its place, which all lines share.
func (in *recordInput) timestamp() error {
	var given *uint64
	err := in.decoder.Decode(&given)
	if given != nil {
		in.record.Timestamp = given
	}
	return err
}

func (in *recordInput) headers() error {
	open, err := in.decoder.Token()
	switch {
	case err != nil || open == nil: // null, which leaves it out
		return err
	case open != json.Delim('['):
		return errors.New("there is no list")
	}
	for in.decoder.More() {
		name, value := bytesInput{name: "name"}, bytesInput{name: "value"}
		err := in.object(func(field string) error {
			if strings.HasPrefix(field, name.name) {
				return name.read(in.decoder, field)
			}
			return value.read(in.decoder, field)
		})
		if err != nil {
			return err
		}
		in.record.Headers = append(in.record.Headers, client.Header{Name: name.bytes, Value: value.bytes})
	}
	_, err = in.decoder.Token()
	return err
}

// object reads an object; read reads the value of one of its fields.
func (in *recordInput) object(read func(field string) error) error {
	open, err := in.decoder.Token()
	switch {
	case err != nil:
		return err
	case open != json.Delim('{'):
		return errors.New("there is no object")
	}
	var seen []string
	for in.decoder.More() {
		token, err := in.decoder.Token()
		if err != nil {
			return err
		}
		field, _ := token.(string)
		if slices.Contains(seen, field) {
			return fmt.Errorf("field %q stands there twice", field)
		}
		seen = append(seen, field)
		if err := read(field); err != nil {
			return fmt.Errorf("field %q: %w", field, err)
		}
	}
	_, err = in.decoder.Token()
	return err
}

// bytesInput is bytes that stand in a field as text, or in base64 in one of the same
// name with _base64 behind it.
type bytesInput struct {
	name  string
	given bool
	bytes []byte
}

func (b *bytesInput) read(decoder *json.Decoder, field string) error {
	inBase64 := field == b.name+"_base64"
	if !inBase64 && field != b.name {
		return errors.New("unknown field")
	}
	var text *string
	if err := decoder.Decode(&text); err != nil || text == nil {
		return err
	}
	if b.given {
		return fmt.Errorf("both %s and %s_base64", b.name, b.name)
	}
	b.given, b.bytes = true, []byte(*text)
	if !inBase64 {
		return nil
	}
	var err error
	b.bytes, err = base64.StdEncoding.Strict().DecodeString(*text)
	return err
}

// hasLoneSurrogate looks for half of a pair in the escapes of valid JSON.
func hasLoneSurrogate(line []byte) bool {
	for {
		at := bytes.IndexByte(line, '\\')
		if at < 0 {
			return false
		}
		line = line[at:]
		first, is := escapedUnit(line)
		switch {
		case !is:
			line = line[2:]
		case !utf16.IsSurrogate(first):
			line = line[6:]
		default:
			second, _ := escapedUnit(line[6:])
			if utf16.DecodeRune(first, second) == utf8.RuneError {
				return true
			}
			line = line[12:]
		}
	}
}

// escapedUnit is the UTF-16 unit of the \u escape that text begins with, if it does.
func escapedUnit(text []byte) (unit rune, is bool) {
	if !bytes.HasPrefix(text, []byte(`\u`)) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:min(6, len(text))]), 16, 16)
	return rune(n), err == nil
}
