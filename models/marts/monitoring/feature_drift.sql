with drift as (
    select
        *,
        psi_by_chance is not null as has_enough_customers,
        (psi - usual_psi) / greatest(1.4826 * usual_psi_mad, 0.02) as robust_z
    from {{ ref('py_feature_drift') }}
)

select
    cast(feature as string) as feature,
    cast(reference_on as date) as reference_on,
    cast(today_on as date) as today_on,
    cast(n_reference as bigint) as n_reference,
    cast(n_today as bigint) as n_today,
    cast(reference_median as double) as reference_median,
    cast(today_median as double) as today_median,
    cast(reference_missing_share as double) as reference_missing_share,
    cast(today_missing_share as double) as today_missing_share,
    cast(n_bins as integer) as n_bins,
    cast(psi as double) as psi,
    cast(psi_by_chance as double) as psi_by_chance,
    cast(n_history as integer) as n_history,
    cast(usual_psi as double) as usual_psi,
    cast(robust_z as double) as robust_z,
    cast(has_enough_customers and n_history >= 4 as boolean) as is_judged,
    cast(
        has_enough_customers
        and n_history >= 4
        and psi > {{ perennial.setting('monitor_drift') }}
        and psi > psi_by_chance
        and robust_z > {{ perennial.setting('monitor_z') }} as boolean
    ) as is_drifted
from drift
