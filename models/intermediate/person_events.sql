-- A person is a customer, where it is known which, with all devices; else a visitor.
with happened as (
    select
        coalesce('customer:' || customer_id, visitor_id) as person_id,
        event_type as event,
        false as is_order,
        event_id,
        session_id,
        device,
        is_visit,
        occurred_at,
        occurred_on
    from {{ ref('events') }}
    where
        is_visit
        or event_type in (select steps.event from {{ ref('funnel_steps') }} as steps)

    union all

    -- Whose device a guest bought with, the order does not say.
    select
        'customer:' || customer_id as person_id,
        'order' as event,
        true as is_order,
        order_id as event_id,
        null as session_id,
        null as device,
        true as is_visit,
        ordered_at as occurred_at,
        ordered_on as occurred_on
    from {{ ref('orders') }}
    where
        customer_id is not null
        and not is_cancelled
),

-- What is counted by person sorts and groups numbers with less work than names.
persons as (
    select
        person_id,
        row_number() over (order by person_id nulls last) as person_number
    from (select distinct person_id from happened) as names
),

-- What has the same moment goes by its id, an order after the events that led to it.
numbered as (
    select
        happened.*,
        persons.person_number,
        row_number() over (
            partition by persons.person_number
            order by occurred_at, is_order nulls last, event_id
        ) as event_number,
        count_if(is_visit) over (
            partition by persons.person_number
            order by occurred_at, is_order nulls last, event_id
            rows between unbounded preceding and current row
        ) as visit_number,
        {{ perennial.last_known(
            'session_id', 'person_number', 'occurred_at, is_order nulls last, event_id'
        ) | indent(8) }} as last_session_id,
        {{ perennial.last_known(
            'case when session_id is not null then occurred_at end',
            'person_number',
            'occurred_at, is_order nulls last, event_id'
        ) | indent(8) }} as last_visited_at
    from happened
    inner join persons
        on happened.person_id = persons.person_id
)

select
    cast(person_number as bigint) as person_number,
    cast(person_id as string) as person_id,
    cast(event_number as bigint) as event_number,
    cast(case when is_visit then visit_number end as bigint) as visit_number,
    cast(event as string) as event,
    -- An order belongs to the session that it could have been an event of.
    cast(
        case
            when
                is_order
                and {{ perennial.seconds_between('last_visited_at', 'occurred_at') }}
                <= 60 * {{ perennial.setting('session_timeout_minutes') }}
                then last_session_id
            else session_id
        end
        as string
    ) as session_id,
    cast(device as string) as device,
    cast(occurred_at as timestamp) as occurred_at,
    cast(occurred_on as date) as occurred_on
from numbered
