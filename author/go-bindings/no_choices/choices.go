package export_jackfield_connector_plugin

import (
	"go.bytecodealliance.org/pkg/wit/types"
	"wit_component/jackfield_connector_model"
	"wit_component/jackfield_connector_plugin"
)

type page = jackfield_connector_plugin.ChoicesPage

// Choices returns the error `unsupported`. It is used if the author's package has no function Choices.
func Choices(setting, _ string) wit_types.Result[page, jackfield_connector_model.Error] {
	return wit_types.Err[page](jackfield_connector_model.Error{
		Code:    jackfield_connector_model.ErrorCodeUnsupported,
		Message: setting + " has no list of values",
	})
}
