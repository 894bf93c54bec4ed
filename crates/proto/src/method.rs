/// A method of `SensorService`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Stores one reading.
    SendSingleReading,
    /// Stores a stream of readings.
    StreamSensorReadings,
    /// Returns the readings of a sensor, and new ones on request.
    GetSensorReadings,
    /// Stores a stream of readings and answers each.
    SensorChat,
    /// Returns the statistics of a sensor.
    GetSensorStats,
    /// Returns the sensors page by page.
    ListSensors,
    /// Returns the readings of a sensor aggregated in windows of time.
    AggregateSensorReadings,
}

impl Method {
    /// All methods. The first is the one that is called most: [`from_path`](Self::from_path) finds it at once.
    pub const ALL: [Self; 7] = [
        Self::SendSingleReading,
        Self::StreamSensorReadings,
        Self::GetSensorReadings,
        Self::SensorChat,
        Self::GetSensorStats,
        Self::ListSensors,
        Self::AggregateSensorReadings,
    ];

    /// Returns the `:path` of the method's calls, such as `/SensorService/SensorChat`.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::SendSingleReading => "/SensorService/SendSingleReading",
            Self::StreamSensorReadings => "/SensorService/StreamSensorReadings",
            Self::GetSensorReadings => "/SensorService/GetSensorReadings",
            Self::SensorChat => "/SensorService/SensorChat",
            Self::GetSensorStats => "/SensorService/GetSensorStats",
            Self::ListSensors => "/SensorService/ListSensors",
            Self::AggregateSensorReadings => "/SensorService/AggregateSensorReadings",
        }
    }

    /// Returns the full method name as telemetry writes it, such as `SensorService/SensorChat`.
    #[must_use]
    pub const fn full_name(self) -> &'static str {
        self.path().split_at(1).1
    }

    /// Returns the method that a `:path` names.
    #[must_use]
    pub fn from_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.path() == path)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prost::Message as _;

    use super::*;

    #[test]
    fn methods_are_those_of_the_descriptor_set() {
        let set = prost_types::FileDescriptorSet::decode(crate::FILE_DESCRIPTOR_SET).unwrap();
        let service = &set.file[0].service[0];
        let described: BTreeSet<_> =
            service.method.iter().map(|method| format!("{}/{}", service.name(), method.name())).collect();
        let known: BTreeSet<_> = Method::ALL.map(|method| method.full_name().to_owned()).into();
        assert_eq!(known, described);
    }

    #[test]
    fn path_names_its_method() {
        for method in Method::ALL {
            assert_eq!(Method::from_path(method.path()), Some(method));
        }
        assert_eq!(Method::from_path("/SensorService/Unknown"), None);
        assert_eq!(Method::from_path("SensorService/SensorChat"), None);
    }
}
