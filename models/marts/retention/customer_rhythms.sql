with order_days as (
    select distinct
        customer_id,
        ordered_on
    from {{ ref('orders') }}
    where
        customer_id is not null
        and not is_cancelled
),

-- From each day with an order to the next; the last is still open.
intervals as (
    select
        customer_id,
        ordered_on,
        lead(ordered_on) over (
            partition by customer_id
            order by ordered_on nulls last
        ) as next_ordered_on
    from order_days
),

measured as (
    select
        customer_id,
        max(ordered_on) as last_ordered_on,
        count(next_ordered_on) as n_intervals,
        ln(median(cast(next_ordered_on - ordered_on as integer))) as log_median,
        {{ perennial.log_variance('cast(next_ordered_on - ordered_on as integer)') }}
            as log_variance
    from intervals
    group by all
),

-- A customer of few orders is judged by the category that the first was spent on.
shrunk as (
    select
        measured.*,
        segments.first_category,
        {{ perennial.shrunk(
            'measured.log_median', 'measured.n_intervals', 'ln(categories.median_days)', 4
        ) }} as expected_log_days,
        sqrt({{ perennial.shrunk(
            'measured.log_variance',
            'measured.n_intervals - 1',
            'categories.log_spread * categories.log_spread',
            4
        ) }}) as log_spread
    from measured
    inner join {{ ref('customer_segments') }} as segments
        on measured.customer_id = segments.customer_id
    left join {{ ref('category_rhythms') }} as categories
        on segments.first_category = categories.category
),

-- Days after which nine of ten of its own intervals would be over, if they are log-normal.
rhythms as (
    select
        *,
        -- Rounded first, so that 30 days stay 30 where all intervals are.
        cast(
            ceil(round(exp(expected_log_days + 1.2815515655446004 * log_spread), 6))
            as integer
        ) as dormant_after_days
    from shrunk
),

first_lapses as (
    select
        intervals.customer_id,
        min(
            {{ perennial.add_days(
                'intervals.ordered_on', 'rhythms.dormant_after_days + 1'
            ) }}
        ) as dormant_on
    from intervals
    inner join rhythms
        on intervals.customer_id = rhythms.customer_id
    cross join {{ ref('clock') }} as clock
    where
        cast(
            coalesce(intervals.next_ordered_on, clock.as_of_on) - intervals.ordered_on
            as integer
        )
        > rhythms.dormant_after_days
    group by all
),

late as (
    select
        rhythms.*,
        first_lapses.dormant_on as first_dormant_on,
        cast(clock.as_of_on - rhythms.last_ordered_on as integer) as n_days_since_order
    from rhythms
    cross join {{ ref('clock') }} as clock
    left join first_lapses
        on rhythms.customer_id = first_lapses.customer_id
),

standardised as (
    select
        *,
        case
            when log_spread > 0 and n_days_since_order > 0
                then (ln(n_days_since_order) - expected_log_days) / log_spread
        end as z
    from late
)

select
    cast(customer_id as string) as customer_id,
    cast(first_category as string) as first_category,
    cast(n_intervals as bigint) as n_intervals,
    cast(exp(log_median) as double) as own_median_days,
    cast(exp(expected_log_days) as double) as expected_days,
    cast(log_spread as double) as log_spread,
    cast(dormant_after_days as integer) as dormant_after_days,
    cast(last_ordered_on as date) as last_ordered_on,
    cast(n_days_since_order as integer) as n_days_since_order,
    cast(
        case
            when log_spread is null then null
            -- No interval is over on the day of the order; without any spread all are at once.
            when n_days_since_order = 0 then 0
            when log_spread = 0
                then
                    case
                        when n_days_since_order >= exp(expected_log_days) then 1
                        else 0
                    end
            when z >= 0 then 1 - {{ perennial.normal_tail('z') }}
            else {{ perennial.normal_tail('-z') }}
        end
        as double
    ) as lateness,
    cast(n_days_since_order > dormant_after_days as boolean) as is_dormant,
    cast(first_dormant_on as date) as first_dormant_on
from standardised
