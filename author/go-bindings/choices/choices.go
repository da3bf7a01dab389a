package export_jackfield_connector_plugin

import (
	"connector"

	"go.bytecodealliance.org/pkg/wit/types"
	"wit_component/jackfield_connector_model"
	"wit_component/jackfield_connector_plugin"
	"wit_component/outcome"
)

type page = jackfield_connector_plugin.ChoicesPage

func Choices(setting, search string) wit_types.Result[page, jackfield_connector_model.Error] {
	return outcome.Of(connector.Choices(setting, search))
}
