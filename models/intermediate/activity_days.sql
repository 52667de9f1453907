{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.changes('orders', 'customer_id') }}
    union
    {{ perennial.changes('events', 'customer_id') }}
    -- A definition may ask for what none asked for before, or no longer.
    union
    select events.customer_id
    from {{ ref('events') }} as events
    inner join {{ ref('retention_definitions') }} as definitions
        on events.event_type in (definitions.start_event, definitions.return_event)
    where events.event_type not in (select counted.activity from {{ this }} as counted)
    union
    select counted.customer_id
    from {{ this }} as counted
    where
        counted.activity not in ('order', 'visit')
        and counted.activity not in (
            select definitions.start_event from {{ ref('retention_definitions') }} as definitions
            union
            select definitions.return_event from {{ ref('retention_definitions') }} as definitions
        )
{%- endcall %}
-- What somebody did is kept by the day of the shop and by the day of UTC, with its first
-- and last moment: 24 hours counted from any moment end at most once in a day of UTC, so
-- that these two moments tell in which of two windows something happened.
with activities as (
    select start_event as activity from {{ ref('retention_definitions') }}
    union
    select return_event as activity from {{ ref('retention_definitions') }}
),

happened as (
    select
        customer_id,
        'order' as activity,
        ordered_at as occurred_at
    from {{ ref('orders') }}
    where
        customer_id is not null
        and not is_cancelled
        {{ perennial.touched_only('customer_id', 'and') }}

    union all

    select
        customer_id,
        'visit' as activity,
        occurred_at
    from {{ ref('events') }}
    where
        customer_id is not null
        and is_visit
        {{ perennial.touched_only('customer_id', 'and') }}

    union all

    select
        customer_id,
        event_type as activity,
        occurred_at
    from {{ ref('events') }}
    where
        customer_id is not null
        and event_type in (select activities.activity from activities)
        {{ perennial.touched_only('customer_id', 'and') }}
)

select
    cast(customer_id as string) as customer_id,
    cast(activity as string) as activity,
    cast({{ perennial.local_date('occurred_at') }} as date) as occurred_on,
    cast(occurred_at as date) as utc_on,
    cast(count(*) as bigint) as n_times,
    cast(min(occurred_at) as timestamp) as first_at,
    cast(max(occurred_at) as timestamp) as last_at
from happened
group by all
