//! What every store must do, asked of each of them.

mod aggregate;
mod extremes;
mod maker;
mod model;
mod sequence_numbers;
mod suite;
mod support;
mod valkey;

use kelvin_store::{AlertSettings, Limits, StoreConfig, StoreFactory};
use opentelemetry::metrics::{MeterProvider, noop::NoopMeterProvider};

use maker::Maker;

struct Memory;

impl Maker for Memory {
    async fn make(&self, limits: Limits, alerts: AlertSettings) -> StoreFactory {
        let meter = NoopMeterProvider::new().meter("test");
        StoreFactory::new(StoreConfig::Memory, limits, alerts, &meter).expect("the settings are valid")
    }
}

macro_rules! contract {
    ($($test:ident)*) => {
        mod memory {
            $(
                #[tokio::test]
                async fn $test() {
                    super::suite::$test(&super::Memory).await;
                }
            )*
        }

        mod valkey_alone {
            $(
                #[tokio::test]
                async fn $test() {
                    super::suite::$test(&super::valkey::Valkey::alone().await).await;
                }
            )*
        }

        /// One cluster for all, since it takes seconds to form.
        #[tokio::test]
        async fn valkey_cluster() {
            let cluster = valkey::Valkey::cluster().await;
            $(
                println!("{}", stringify!($test));
                suite::$test(&cluster).await;
            )*
        }
    };
}

contract! {
    readings_come_back_in_order_of_arrival
    sensor_keeps_its_newest_readings
    total_reading_limit_is_kept
    sensors_beyond_the_bound_are_refused
    idle_sensor_expires
    statistics_are_since_first_seen
    unknown_sensors_are_empty
    queries_choose_by_time_and_number
    alerts_have_their_index
    pages_list_each_sensor_once
    followers_get_everything_once
    follower_may_precede_its_sensor
    handles_share_what_is_stored
    followers_see_every_sequence_number_once
    sequence_numbers_include_evicted_readings
    late_readers_learn_what_they_missed
    overtaken_readers_go_on_with_what_is_held
    newest_of_few_are_found_far_back
    aggregates_are_by_window
    aggregates_cover_long_histories
    too_many_windows_are_an_error
    random_traffic_agrees_with_the_model
    statistics_of_accepted_readings_are_finite
    readers_among_writes_lose_nothing_unnoticed
}
