// Package jackfield is a library for connectors in Go. Its functions read the settings with their defaults,
// send requests, read JSON answers, and create the errors that a call returns.
package jackfield

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"go.bytecodealliance.org/pkg/wit/types"
	"wit_component/jackfield_connector_model"
	"wit_component/jackfield_connector_plugin"
	"wit_component/jackfield_connector_settings"
)

// Short names of types of the contract.
type (
	Manifest   = jackfield_connector_plugin.Manifest
	FailedTest = jackfield_connector_model.FailedTest
	Defect     = jackfield_connector_model.Defect
	Counts     = jackfield_connector_model.Counts
)

// Some returns an option of the contract that contains a value.
func Some[T any](value T) wit_types.Option[T] { return wit_types.Some(value) }

// None returns an option of the contract that contains no value.
func None[T any]() wit_types.Option[T] { return wit_types.None[T]() }

// Text returns an option that contains the text. If the text is empty, the option contains no value.
func Text(text string) wit_types.Option[string] {
	if text == "" {
		return None[string]()
	}
	return Some(text)
}

// Settings reads the connection's settings, and adds the defaults of the schema. The host does not add them. The
// names of the members of T may be in upper or lower case.
func Settings[T any](schema string) (settings T) {
	var described struct {
		Properties map[string]struct{ Default json.RawMessage }
	}
	all := map[string]json.RawMessage{}
	must(json.Unmarshal([]byte(schema), &described))
	for name, setting := range described.Properties {
		if setting.Default != nil {
			all[name] = setting.Default
		}
	}
	must(json.Unmarshal([]byte(jackfield_connector_settings.All()), &all))
	joined, err := json.Marshal(all)
	must(err)
	must(json.Unmarshal(joined, &settings))
	return settings
}

// must ends the call if there is an error. The host has checked the settings, so an error means that the schema
// does not fit the code.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Named is a record of the tracker that has a number and a name.
type Named struct {
	ID   uint64
	Name string
}

// IDs returns the ids of the records that a setting names, with the separator between them. It requests the
// tracker's list of records from `path`; the list is in the part `wanted` of the answer. An unknown name is an
// error. Otherwise a count would be zero, and no person would notice.
func (it Tracker) IDs(path, wanted string, names []string, setting, separator string) (string, error) {
	known, err := Get[[]Named](it, path, wanted, nil)
	if err != nil {
		return "", err
	}
	var ids []string
	for _, name := range names {
		id, err := ID(known, name, setting)
		if err != nil {
			return "", err
		}
		ids = append(ids, fmt.Sprint(id))
	}
	return strings.Join(ids, separator), nil
}

// ID returns the id of the record that has this name.
func ID(known []Named, name, setting string) (uint64, error) {
	var names []string
	for _, record := range known {
		if strings.EqualFold(record.Name, strings.TrimSpace(name)) {
			return record.ID, nil
		}
		names = append(names, record.Name)
	}
	there := strings.Join(names, ", ")
	return 0, Fail(Rejected, "%q does not exist; there is: %s", name, there).About(setting)
}

// Pair is a parameter of a query, or a header.
type Pair [2]string

// Pairs are sent in this order. A pair whose value is empty is not sent.
type Pairs []Pair

// Object is a JSON object.
type Object = map[string]any

// Page returns the address of a page for people. `base` is the tracker's address in the settings.
func Page(base, path string, query Pairs) string {
	address, before := strings.TrimRight(base, "/")+path, "?"
	for _, pair := range query {
		if pair[1] == "" {
			continue
		}
		// QueryEscape encodes a space as `+`. Not every tracker decodes `+` as a space.
		value := strings.ReplaceAll(url.QueryEscape(pair[1]), "+", "%20")
		address += before + url.QueryEscape(pair[0]) + "=" + value
		before = "&"
	}
	return address
}
