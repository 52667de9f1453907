{%- set horizon = perennial.setting('churn_horizon_days') %}
with moments as (
    select
        moment_on,
        customer_id,
        segment
    from {{ ref('segment_moments') }}

    union all

    select
        clock.as_of_on as moment_on,
        rfm.customer_id,
        rfm.segment
    from {{ ref('rfm') }} as rfm
    cross join {{ ref('clock') }} as clock
),

moves as (
    select
        {{ perennial.add_days('later.moment_on', -horizon) }} as from_on,
        later.moment_on as to_on,
        coalesce(earlier.segment, 'Not yet a customer') as from_segment,
        later.segment as to_segment
    from moments as later
    left join moments as earlier
        on
            later.customer_id = earlier.customer_id
            and later.moment_on
            = {{ perennial.add_days('earlier.moment_on', horizon) }}
    cross join {{ ref('clock') }} as clock
    -- Before the first of the moments nothing is known of anyone.
    where
        later.moment_on > {{ perennial.add_days('clock.as_of_on', -4 * horizon) }}
)

select
    cast(from_on as date) as from_on,
    cast(to_on as date) as to_on,
    cast(from_segment as string) as from_segment,
    cast(to_segment as string) as to_segment,
    cast(count(*) as bigint) as n_customers,
    cast(
        count(*)
        / cast(
            sum(count(*)) over (partition by to_on, from_segment) as double
        ) as double
    ) as share_of_segment
from moves
group by from_on, to_on, from_segment, to_segment
