// Package report has the texts of the report. It is a package of its own, because worlds whose name begins
// with `plain-` do not have it.
package report

import (
	"connector/jackfield"
	"wit_component/jackfield_connector_report"
)

// Title is in one line, with at most this many characters.
func Title(maxCharacters uint32) string {
	return jackfield_connector_report.Title(maxCharacters)
}

// Description is in a markup, such as `markdown`. Its first line contains the marker.
func Description(markup string, maxCharacters uint32, marker string) (string, error) {
	return jackfield.Try(jackfield_connector_report.Description(markup, maxCharacters, jackfield.Some(marker)))
}

// Comment is that on a defect whose test failed again.
func Comment(markup string, maxCharacters uint32, marker string) (string, error) {
	return jackfield.Try(jackfield_connector_report.Comment(markup, maxCharacters, marker))
}
