{%- call perennial.touched() %}
    -- Which keys to do again.
    {{ perennial.changes('checked_events', 'anonymous_id') }}
    union
    select anonymous_id
    from {{ ref('stg_events') }}
    where {{ perennial.newly_happened('occurred_at') }}
{%- endcall %}
with links as (
    select
        anonymous_id,
        customer_id,
        min((occurred_at, event_id)) as first_event,
        min(occurred_at) as first_linked_at,
        max(occurred_at) as last_linked_at,
        count(*) as n_events
    from {{ ref('stg_events') }}
    cross join {{ ref('clock') }} as clock
    where
        anonymous_id is not null
        and customer_id is not null
        and occurred_at <= clock.as_of
        {{ perennial.touched_only('anonymous_id', 'and') }}
    group by all
)

select
    cast(anonymous_id as string) as anonymous_id,
    cast(customer_id as string) as customer_id,
    -- Before the first login on a device, its first customer is the best guess.
    cast(
        row_number() over (partition by anonymous_id order by first_event) = 1
        as boolean
    ) as is_first_of_device,
    cast(count(*) over (partition by anonymous_id) as bigint) as n_customers_of_device,
    cast(n_events as bigint) as n_events,
    cast(first_linked_at as timestamp) as first_linked_at,
    cast(last_linked_at as timestamp) as last_linked_at
from links
