//! The manifests have no field that the Kubernetes API does not know, and none of another type.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../pillion.yaml");

fn objects() -> Vec<Value> {
    let text = std::fs::read_to_string(MANIFEST).unwrap();
    serde_yaml_ng::Deserializer::from_str(&text).map(|object| Value::deserialize(object).unwrap()).collect()
}

/// The object in the form of the API: parsed as its type and serialised again.
fn through_api(object: &Value) -> Result<Value, String> {
    fn through<T: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, String> {
        let typed: T = T::deserialize(object).map_err(|error| error.to_string())?;
        serde_json::to_value(typed).map_err(|error| error.to_string())
    }
    match (object["apiVersion"].as_str(), object["kind"].as_str()) {
        (Some("v1"), Some("ConfigMap")) => through::<ConfigMap>(object),
        (Some("apps/v1"), Some("Deployment")) => through::<Deployment>(object),
        other => Err(format!("{other:?} is not known here")),
    }
}

#[test]
fn every_field_is_one_of_the_api() {
    let objects = objects();
    assert_eq!(objects.len(), 2);
    for object in objects {
        assert_eq!(through_api(&object).as_ref(), Ok(&object));
    }
}

/// The comparison notices each of these mistakes.
#[test]
fn mistakes_are_seen() {
    let deployment = objects().remove(1);
    let sidecar = "/spec/template/spec/initContainers/0";
    let broken = |path: &str, field: &str, value: Value| {
        let mut object = deployment.clone();
        let place = object.pointer_mut(path).unwrap().as_object_mut().unwrap();
        place.insert(field.to_owned(), value);
        through_api(&object).as_ref() != Ok(&object)
    };
    assert!(!broken(sidecar, "restartPolicy", "Always".into()), "as it is");
    assert!(broken(sidecar, "restartPolcy", "Always".into()));
    assert!(broken(sidecar, "args", "serve".into()));
    assert!(broken(&format!("{sidecar}/startupProbe"), "failureThreshold", "600".into()));
    assert!(broken(&format!("{sidecar}/volumeMounts/0"), "readonly", true.into()));
    assert!(broken("/spec/template/spec/securityContext", "fsGroup", "2000".into()));
}
