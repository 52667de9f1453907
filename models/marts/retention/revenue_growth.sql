{%- set amounts = [
    'revenue', 'new', 'resurrected', 'expansion', 'contraction', 'leaving', 'refund_only',
] -%}
with periods as (
    {%- for grain in ['week', 'month'] %}
    select
        customer_id,
        grain,
        period_start_on,
        {{ perennial.periods_between(grain, "date '1970-01-01'", 'period_start_on') }}
            as period_index,
        is_active,
        revenue_amount
    from {{ ref('customer_periods') }}
    where grain = '{{ grain }}'
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

neighbours as (
    select
        *,
        lag(period_index) over active as previous_index,
        lag(revenue_amount) over active as previous_amount,
        lead(period_index) over active as next_index
    from periods
    where is_active
    window active as (
        partition by grain, customer_id
        order by period_index nulls last
    )
),

-- What a customer is in a period, orders say: refunds alone make nobody active, and nobody
-- is lost for having sent everything back.
states as (
    select
        customer_id,
        grain,
        period_start_on,
        revenue_amount,
        previous_amount,
        case
            when previous_index is null then 'new'
            when previous_index = period_index - 1 then 'retained'
            else 'resurrected'
        end as state,
        coalesce(next_index > period_index + 1, true) as is_leaving
    from neighbours

    union all

    select
        customer_id,
        grain,
        period_start_on,
        revenue_amount,
        null as previous_amount,
        'refund only' as state,
        false as is_leaving
    from periods
    where not is_active
),

-- An amount that lacks its exchange rate is null, and so is every sum that it is part of.
parts as (
    select
        customer_id,
        grain,
        period_start_on,
        revenue_amount,
        case when state = 'new' then revenue_amount else 0 end as new_amount,
        case when state = 'resurrected' then revenue_amount else 0 end
            as resurrected_amount,
        case
            when state <> 'retained' or revenue_amount <= previous_amount then 0
            else revenue_amount - previous_amount
        end as expansion_amount,
        case
            when state <> 'retained' or revenue_amount >= previous_amount then 0
            else previous_amount - revenue_amount
        end as contraction_amount,
        case when is_leaving then revenue_amount else 0 end as leaving_amount,
        case when state = 'refund only' then revenue_amount else 0 end
            as refund_only_amount
    from states
),

-- Summed first by all segments at once: the customers are read once, not once per type.
together as (
    select
        {%- for amount in amounts %}
        {{ perennial.complete_sum('parts.' ~ amount ~ '_amount') }}
            as {{ amount }}_amount,
        {%- endfor %}
        {%- for segment_type, segment in perennial.segment_types() %}
        {{ segment }} as {{ segment_type }}_segment,
        {%- endfor %}
        parts.grain,
        parts.period_start_on
    from parts
    inner join {{ ref('customer_segments') }} as segments
        on parts.customer_id = segments.customer_id
    group by all
),

by_segment as (
    {%- for segment_type, _ in perennial.segment_types() %}
    select
        {%- for amount in amounts %}
        {{ perennial.complete_sum(amount ~ '_amount') }} as {{ amount }}_amount,
        {%- endfor %}
        grain,
        period_start_on,
        '{{ segment_type }}' as segment_type,
        {{ segment_type }}_segment as segment
    from together
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

-- What no customer with an order brought or took: guests, and refunds to whoever never
-- bought. It is in no segment.
guests as (
    select
        ordered_on as happened_on,
        net_amount as revenue_amount
    from {{ ref('orders') }}
    where
        customer_id is null
        and not is_cancelled

    union all

    select
        refunds.refunded_on as happened_on,
        -refunds.amount as revenue_amount
    from {{ ref('refunds') }} as refunds
    left join {{ ref('customers') }} as customers
        on refunds.customer_id = customers.customer_id
    where
        not refunds.is_order_cancelled
        and customers.first_ordered_on is null
),

guest_periods as (
    {%- for grain in ['week', 'month'] %}
    select
        '{{ grain }}' as grain,
        'all' as segment_type,
        'all' as segment,
        {{ perennial.period_start(grain, 'happened_on') }} as period_start_on,
        {{ perennial.complete_sum('revenue_amount') }} as revenue_amount
    from guests
    group by all
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

first_periods as (
    select
        grain,
        segment_type,
        segment,
        min(period_start_on) as first_start_on
    from (
        select
            grain,
            segment_type,
            segment,
            period_start_on
        from by_segment

        union all

        select
            grain,
            segment_type,
            segment,
            period_start_on
        from guest_periods
    ) as starts
    group by all
),

-- Enough for the earliest start in the finest grain, which is the week.
period_numbers as (
    {{ perennial.numbers(
        0,
        '(select coalesce(max(cast(floor(cast('
        ~ 'clock.as_of_on - firsts.first_start_on as integer) / 7) as bigint)), 0)'
        ~ ' from first_periods as firsts cross join ' ~ ref('clock') ~ ' as clock)'
    ) }}
),

-- Without a gap up to the period of as_of, so that the row before is the period before.
cells as (
    {%- for grain in ['week', 'month'] %}
    select
        firsts.grain,
        firsts.segment_type,
        firsts.segment,
        {{ perennial.add_periods(grain, 'firsts.first_start_on', 'numbers.n') }}
            as period_start_on,
        {{ perennial.add_periods(grain, 'firsts.first_start_on', 'numbers.n + 1') }}
            as period_end_on
    from first_periods as firsts
    cross join {{ ref('clock') }} as clock
    inner join period_numbers as numbers
        on
            numbers.n <= {{ perennial.periods_between(
                grain, 'firsts.first_start_on',
                perennial.period_start(grain, 'clock.as_of_on')
            ) }}
    where firsts.grain = '{{ grain }}'
    {{ 'union all' if not loop.last }}
    {%- endfor %}
),

summed as (
    select
        cells.*,
        {%- for amount in amounts %}
        case
            when by_segment.grain is null then 0 else by_segment.{{ amount }}_amount
        end as {{ amount }}_amount,
        {%- endfor %}
        case when guests.grain is null then 0 else guests.revenue_amount end
            as guest_amount,
        {{ perennial.start_of_day_utc('cells.period_end_on') }}
        <= clock.as_of as is_mature
    from cells
    cross join {{ ref('clock') }} as clock
    left join by_segment
        on
            cells.grain = by_segment.grain
            and cells.segment_type = by_segment.segment_type
            and cells.segment = by_segment.segment
            and cells.period_start_on = by_segment.period_start_on
    left join guest_periods as guests
        on
            cells.grain = guests.grain
            and cells.segment_type = guests.segment_type
            and cells.segment = guests.segment
            and cells.period_start_on = guests.period_start_on
),

-- Before the first period there was nothing; before others may stand what is not known.
flows as (
    select
        {%- for amount, name in [
            ('revenue', 'previous_revenue'), ('leaving', 'churned'),
            ('refund_only', 'previous_refund_only'),
        ] %}
        case
            when row_number() over earlier > 1
                then lag({{ amount }}_amount) over earlier
            else 0
        end as {{ name }}_amount,
        {%- endfor %}
        *
    from summed
    window earlier as (
        partition by grain, segment_type, segment
        order by period_start_on nulls last
    )
)

select
    cast(grain as string) as grain,
    cast(segment_type as string) as segment_type,
    cast(segment as string) as segment,
    cast(period_start_on as date) as period_start_on,
    cast(period_end_on as date) as period_end_on,
    cast(is_mature as boolean) as is_mature,
    cast(revenue_amount as decimal(18, 2)) as revenue_amount_to_date,
    cast(guest_amount as decimal(18, 2)) as guest_revenue_amount_to_date,
    -- Null in all of them while the period runs, so that BI may sum them.
    {%- for column, expression in [
        ('revenue', 'revenue_amount'), ('previous_revenue', 'previous_revenue_amount'),
        ('new', 'new_amount'), ('resurrected', 'resurrected_amount'),
        ('expansion', 'expansion_amount'), ('contraction', 'contraction_amount'),
        ('churned', 'churned_amount'), ('refund_only', 'refund_only_amount'),
        ('previous_refund_only', 'previous_refund_only_amount'),
        ('guest_revenue', 'guest_amount'),
        ('total_revenue', 'revenue_amount + guest_amount'),
    ] %}
    cast(case when is_mature then {{ expression }} end as decimal(18, 2))
        as {{ column }}_amount,
    {%- endfor %}
    cast(
        case
            when is_mature and contraction_amount + churned_amount > 0
                then
                    cast(
                        new_amount + resurrected_amount + expansion_amount as double
                    )
                    / cast(contraction_amount + churned_amount as double)
        end as double
    ) as quick_ratio
from flows
