package export_jackfield_connector_plugin

import (
	"connector"

	"go.bytecodealliance.org/pkg/wit/types"
	"wit_component/jackfield_connector_model"
	"wit_component/jackfield_connector_plugin"
	"wit_component/outcome"
)

func Describe() jackfield_connector_plugin.Manifest {
	return connector.Describe()
}

func Check() wit_types.Result[string, jackfield_connector_model.Error] {
	return outcome.Of(connector.Check())
}
