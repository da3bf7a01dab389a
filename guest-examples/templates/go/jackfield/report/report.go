// Package report returns the texts of the report. It is not in the package jackfield, because a world whose name
// begins with `plain-` does not contain the report.
package report

import (
	"connector/jackfield"
	"wit_component/jackfield_connector_report"
)

// Title returns the title, which is one line.
func Title(maxCharacters uint32) string {
	return jackfield_connector_report.Title(maxCharacters)
}

// Description returns the description in a markup, such as `markdown`. Its first line contains the marker.
func Description(markup string, maxCharacters uint32, marker string) (string, error) {
	return jackfield.Try(jackfield_connector_report.Description(markup, maxCharacters, jackfield.Some(marker)))
}

// Comment returns the text of a comment on a defect whose test has failed again.
func Comment(markup string, maxCharacters uint32, marker string) (string, error) {
	return jackfield.Try(jackfield_connector_report.Comment(markup, maxCharacters, marker))
}
